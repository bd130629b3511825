"""From tracked frames to composed ones: cuts crops, feeds the generator chunk by chunk, and keeps frames in order.

A segment is a run of frames in which one face can be dubbed. Each has its own generator state; frames wait in a
queue until every segment they belong to has given its patch, and leave it in the order they came. The queue never
holds more than ``hold_frames``, whatever the length of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from lipsync_cli.audio.stream import SpeechTrack
from lipsync_cli.generate.protocol import CropChunk, Generator, MelSpan
from lipsync_cli.report import StageClock
from lipsync_cli.types import MEL_RATE, Crop, Face, FaceState, Frame, Patch, TrackedFrame

MIN_SEGMENT_FRAMES = 5
"""Fewer frames than this are left alone: a mouth that changes for a blink of an eye is worse than none."""
MAX_GAP_S = Fraction(1, 2)

CutCrop = Callable[[Frame, Face], Crop]
Blend = Callable[[Frame, list[Patch]], Frame]


@dataclass(slots=True)
class Slot:
    """A frame in the queue: the patches it got, and how many it still waits for."""

    frame: Frame
    shot: int
    faces: tuple[Face, ...]
    patches: list[Patch] = field(default_factory=list)
    pending: int = 0
    dubbed: list[int] = field(default_factory=list)
    brief: bool = False

    @property
    def reason(self) -> str:
        """``dubbed``, or why the frame passed through."""
        if self.dubbed:
            return "dubbed"
        if self.brief:
            return "too-brief"
        states = [face.state for face in self.faces]
        order = [FaceState.COVERED, FaceState.PROFILE, FaceState.CUT_OFF, FaceState.TOO_SMALL, FaceState.NOT_CHOSEN]
        return next((str(state) for state in order if state in states), str(FaceState.MISSING))


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """``clock`` maps a frame to seconds on the dub track; ``silence`` is close, model or keep."""

    reference_frames: int
    fade_frames: int
    silence: str
    seed: int
    clock: Callable[[Frame], Fraction]


@dataclass(slots=True)
class _Item:
    slot: Slot
    crop: Crop
    time: Fraction
    silence: float
    patch: Patch | None = None


class Segment:
    """One face from its first to its last frame without a gap."""

    def __init__(self, track: int, generator: Generator[Any], speech: SpeechTrack, options: SegmentOptions) -> None:
        self.track, self._generator, self._speech, self._options = track, generator, speech, options
        self._state: Any = None
        self._begun = False
        self._waiting: deque[_Item] = deque()
        self._unsealed: deque[_Item] = deque()
        self._sealed = 0
        self._last_time: Fraction | None = None

    @property
    def last_time(self) -> Fraction | None:
        """Time of the newest frame that was pushed."""
        return self._last_time

    def push(self, slot: Slot, crop: Crop) -> None:
        """Take the next frame; runs the generator when a chunk is full."""
        time = self._options.clock(slot.frame)
        silence = 0.0 if self._options.silence == "model" else self._speech.silence(float(time))
        slot.pending += 1
        self._waiting.append(_Item(slot, crop, time, silence))
        self._last_time = time
        if not self._begun and len(self._waiting) >= self._enough_to_begin():
            self._begin()
        self._run(last=False)

    def finish(self) -> None:
        """No more frames: run what waits, fade out, and let every slot go."""
        if not self._begun and len(self._waiting) < MIN_SEGMENT_FRAMES:
            for item in self._waiting:
                item.slot.pending -= 1
                item.slot.brief = True
            self._waiting.clear()
            return
        if not self._begun:
            self._begin()
        self._run(last=True)
        for index, item in enumerate(self._unsealed):
            remaining = len(self._unsealed) - index
            self._seal(item, min(1.0, remaining / (self._options.fade_frames + 1)))
        self._unsealed.clear()

    def _enough_to_begin(self) -> int:
        spec = self._generator.spec
        return max(self._options.reference_frames, spec.first_chunk_frames, MIN_SEGMENT_FRAMES)

    def _begin(self) -> None:
        references = [item.crop for item in self._waiting][: self._options.reference_frames]
        seed = (self._options.seed * 1_000_003 + self.track) % 2**31
        self._state = self._generator.begin(references, self._waiting[0].time, seed=seed)
        self._begun = True
        self._previous = self._waiting[0].time

    def _run(self, *, last: bool) -> None:
        spec = self._generator.spec
        while self._begun and self._waiting:
            first = self._sealed == 0 and not self._unsealed
            size = spec.first_chunk_frames if first else spec.chunk_frames
            if len(self._waiting) < size and not last:
                return
            items = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._step(items)
            while len(self._unsealed) > self._options.fade_frames:
                self._seal(self._unsealed.popleft(), 1.0)

    def _step(self, items: list[_Item]) -> None:
        closing = self._options.silence == "close"
        chunk = CropChunk(
            crops=tuple(item.crop for item in items),
            times=tuple(item.time for item in items),
            mel=self._mel(self._previous, items[-1].time),
            silence=np.array([item.silence if closing else 0.0 for item in items], np.float32),
        )
        pictures = self._generator.step(self._state, chunk)
        if len(pictures) != len(items):
            raise RuntimeError(f"{self._generator.spec.name} gave {len(pictures)} pictures for {len(items)} crops")
        for item, picture in zip(items, pictures, strict=True):
            item.patch = None if picture is None else Patch(picture, item.crop)
            self._unsealed.append(item)
        self._previous = items[-1].time

    def _mel(self, first: Fraction, last: Fraction) -> MelSpan:
        spec = self._generator.spec
        begin = int((first - spec.audio_before_s) * MEL_RATE // 1)
        end = -int(-(last + spec.audio_after_s) * MEL_RATE // 1)
        return MelSpan(self._speech.rows(begin, end - begin + 1), begin)

    def _seal(self, item: _Item, fade_out: float) -> None:
        """Fix an item's weight and give its patch to the slot."""
        self._sealed += 1
        fade_in = self._sealed / (self._options.fade_frames + 1)
        weight = min(1.0, fade_in, fade_out)
        if self._options.silence == "keep":
            weight *= 1.0 - item.silence
        if item.patch is not None and weight > 0:
            item.slot.patches.append(Patch(item.patch.rgb, item.patch.source, weight))
        item.slot.pending -= 1
        item.slot.dubbed.append(self.track)


def hold_frames(generator: Generator[Any], options: SegmentOptions) -> int:
    """The most frames the queue holds: the references' wait, one chunk and the fade."""
    spec = generator.spec
    wait = max(options.reference_frames, spec.first_chunk_frames, MIN_SEGMENT_FRAMES)
    return max(wait, spec.chunk_frames + options.fade_frames) + spec.chunk_frames


def dub_segments(
    tracked: Iterable[TrackedFrame],
    generator: Generator[Any],
    speech: SpeechTrack,
    cut: CutCrop,
    blend: Blend,
    options: SegmentOptions,
    *,
    clock: StageClock,
    observe: Callable[[Slot], None] = lambda slot: None,
) -> Iterator[Frame]:
    """Every frame of ``tracked``, in order, with the chosen faces dubbed; ``observe`` sees each slot as it leaves."""
    segments: dict[int, Segment] = {}
    queue: deque[Slot] = deque()

    def leave() -> Iterator[Frame]:
        while queue and queue[0].pending == 0:
            slot = queue.popleft()
            observe(slot)
            with clock.stage("composite", frames=1):
                frame = blend(slot.frame, slot.patches)
            yield frame

    def end(track: int) -> None:
        with clock.stage("generate"):
            segments.pop(track).finish()

    for item in tracked:
        slot = Slot(item.frame.without_rgb(), item.shot, item.faces)
        queue.append(slot)
        wanted = {face.track_id: face for face in item.faces if face.state is FaceState.OK}
        for track in [track for track in segments if track not in wanted]:
            end(track)
        for track, face in wanted.items():
            previous = segments[track].last_time if track in segments else None
            if previous is not None and options.clock(slot.frame) - previous > MAX_GAP_S:
                end(track)
            if track not in segments:
                segments[track] = Segment(track, generator, speech, options)
            with clock.stage("crop"):
                crop = cut(item.frame, face)
            with clock.stage("generate", frames=1):
                segments[track].push(slot, crop)
        yield from leave()
    for track in list(segments):
        end(track)
    yield from leave()
