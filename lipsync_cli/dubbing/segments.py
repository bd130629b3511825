"""Segments: runs of frames in which one face can be dubbed, each fed to the generator chunk by chunk.

A crop goes through three queues: it waits until its chunk is full, is owed a drawing once its chunk was handed to the
generator, and is unsealed until it is certain that it is not among the last, which fade out::

    push → waiting → step → owed → drawing → unsealed → patch in its slot
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.types import MEL_RATE, SPEECH_RATE, Crop, Face, FaceState, Frame, GeneratedCrop, Patch
from lipsync_cli.dubbing.chunk_grid import (
    GRID_TOLERANCE,
    MIN_SEGMENT_FRAMES,
    chunk_end,
    frames_per_chunk,
    frames_to_begin,
    lag_frames,
)
from lipsync_cli.engines.protocol import NO_MEL, NO_WAVE, CropChunk, LipSyncModel, MelSpan, WaveSpan

DUBBED, UNCHANGED = "dubbed", "unchanged"
"""What became of a frame with a face to dub: the model changed it, or left it as it was."""


@dataclass(slots=True)
class Slot:
    """A frame in the queue: the patches it got, and how many it still waits for.

    ``dubbed`` and ``unchanged`` are the tracks whose segments are done with it: those that changed it, and those to
    which the model, or the setting ``silence``, gave nothing to show.
    """

    frame: Frame
    shot: int
    faces: tuple[Face, ...]
    patches: list[Patch] = field(default_factory=list)
    pending: int = 0
    dubbed: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    brief: bool = False

    @property
    def reason(self) -> str:
        """``dubbed`` where a mouth was changed, or why the frame passed through."""
        if self.dubbed:
            return DUBBED
        if self.unchanged:
            return UNCHANGED
        if self.brief:
            return "too-brief"
        states = [face.state for face in self.faces]
        order = [FaceState.COVERED, FaceState.PROFILE, FaceState.CUT_OFF, FaceState.TOO_SMALL, FaceState.NOT_CHOSEN]
        return next((str(state) for state in order if state in states), str(FaceState.MISSING))


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How segments begin, end and sound: ``silence`` is close, model or keep."""

    reference_frames: int
    fade_frames: int
    silence: str
    seed: int


@dataclass(slots=True)
class _Item:
    slot: Slot
    crop: Crop
    time: Fraction
    silence: float
    drawing: GeneratedCrop | None = None


class Segment:
    """One face from its first to its last frame without a gap; ``fade_in`` where an untouched one goes before."""

    def __init__(
        self,
        track: int,
        generator: LipSyncModel[Any],
        speech: SpeechTrack,
        options: SegmentOptions,
        *,
        fade_in: bool = True,
    ) -> None:
        self.track, self._generator, self._speech, self._options = track, generator, speech, options
        self._fade_in = fade_in
        self._state: Any = None
        self._begun = False
        self._waiting: deque[_Item] = deque()
        self._owed: deque[_Item] = deque()
        self._unsealed: deque[_Item] = deque()
        self._sealed = 0
        self._last_time: Fraction | None = None

    @property
    def last_time(self) -> Fraction | None:
        """Time of the newest frame that was pushed."""
        return self._last_time

    def push(self, slot: Slot, crop: Crop) -> None:
        """Take the next frame; runs the generator when a chunk is full."""
        time = slot.frame.time
        silence = 0.0 if self._options.silence == "model" else self._speech.silence(float(time))
        slot.pending += 1
        self._waiting.append(_Item(slot, crop, time, silence))
        self._last_time = time
        if not self._begun and len(self._waiting) >= self._enough_to_begin():
            self._begin()
        self._run(last=False)

    def finish(self, *, fade_out: bool = True) -> None:
        """No more frames: run what waits, fade out where an untouched frame follows, and let every slot go."""
        if not self._begun and len(self._waiting) < MIN_SEGMENT_FRAMES:
            for item in self._waiting:
                item.slot.pending -= 1
                item.slot.brief = True
            self._waiting.clear()
            return
        if not self._begun:
            self._begin()
        self._run(last=True)
        self._hand_over(self._generator.finish(self._state))
        self._require_none_owed()
        for index, item in enumerate(self._unsealed):
            remaining = len(self._unsealed) - index
            self._seal(item, min(1.0, remaining / (self._options.fade_frames + 1)) if fade_out else 1.0)
        self._unsealed.clear()

    def _enough_to_begin(self) -> int:
        return frames_to_begin(self._generator.spec, self._options.reference_frames)

    def _begin(self) -> None:
        wanted = self._options.reference_frames if self._generator.spec.reference_frames else 0
        references = [item.crop for item in self._waiting][:wanted]
        seed = (self._options.seed * 1_000_003 + self.track) % 2**31
        self._state = self._generator.begin(references, self._waiting[0].time, seed=seed)
        self._begun = True
        self._start = self._previous = self._waiting[0].time

    def _run(self, *, last: bool) -> None:
        while self._begun and self._waiting:
            size = self._next_chunk(last=last)
            if not size:
                return
            self._step([self._waiting.popleft() for _ in range(size)])
            while len(self._unsealed) > self._options.fade_frames:
                self._seal(self._unsealed.popleft(), 1.0)

    def _next_chunk(self, *, last: bool) -> int:
        """How many of the waiting frames make the next chunk; 0 while it is not complete."""
        spec = self._generator.spec
        if spec.rate is None:
            first = self._sealed == 0 and not self._unsealed and not self._owed
            size = spec.first_chunk_frames if first else spec.chunk_frames
            return size if len(self._waiting) >= size else len(self._waiting) * last
        ends = chunk_end(spec, self._position(self._waiting[0]))
        size = sum(self._position(item) <= ends + GRID_TOLERANCE for item in self._waiting)
        complete = size < len(self._waiting) or self._position(self._waiting[-1]) >= ends - GRID_TOLERANCE
        return size if complete or last else 0

    def _position(self, item: _Item) -> Fraction:
        """Frames of the generator's own clock since the segment's start."""
        assert self._generator.spec.rate is not None
        return (item.time - self._start) * self._generator.spec.rate

    def _step(self, items: list[_Item]) -> None:
        closing = self._options.silence == "close"
        until = self._heard_until(items)
        chunk = CropChunk(
            crops=tuple(item.crop for item in items),
            times=tuple(item.time for item in items),
            mel=self._mel(self._previous, until) if self._generator.spec.audio == "mel" else NO_MEL,
            wave=self._wave(self._previous, until) if self._generator.spec.audio == "waveform" else NO_WAVE,
            silence=np.array([item.silence if closing else 0.0 for item in items], np.float32),
        )
        self._owed.extend(items)
        self._hand_over(self._generator.step(self._state, chunk))
        if not self._generator.spec.lag_frames:
            self._require_none_owed()
        self._previous = items[-1].time

    def _hand_over(self, drawings: list[GeneratedCrop | None]) -> None:
        """Give drawings to the crops that have waited longest."""
        if len(drawings) > len(self._owed):
            raise RuntimeError(
                f"{self._generator.spec.name} gave {len(drawings)} drawings for {len(self._owed)} crops"
            )
        for drawing in drawings:
            item = self._owed.popleft()
            item.drawing = drawing
            self._unsealed.append(item)

    def _require_none_owed(self) -> None:
        if self._owed:
            raise RuntimeError(f"{self._generator.spec.name} gave no drawings for {len(self._owed)} crops")

    def _heard_until(self, items: list[_Item]) -> Fraction:
        """Time of the chunk's end, which with a clock of its own need not be that of its last frame."""
        spec = self._generator.spec
        if spec.rate is None:
            return items[-1].time
        return self._start + chunk_end(spec, self._position(items[-1])) / spec.rate

    def _mel(self, first: Fraction, last: Fraction) -> MelSpan:
        spec = self._generator.spec
        begin = int((first - spec.audio_before_s) * MEL_RATE // 1)
        end = -int(-(last + spec.audio_after_s) * MEL_RATE // 1)
        return MelSpan(self._speech.rows(begin, end - begin + 1), begin)

    def _wave(self, first: Fraction, last: Fraction) -> WaveSpan:
        spec = self._generator.spec
        if spec.whole_audio:
            return WaveSpan(self._speech.all_samples(), 0)
        begin = int((first - spec.audio_before_s) * SPEECH_RATE // 1)
        start, samples = self._speech.samples(begin, -int(-(last + spec.audio_after_s) * SPEECH_RATE // 1))
        return WaveSpan(samples, start)

    def _seal(self, item: _Item, fade_out: float) -> None:
        """Fix an item's weight and give its patch to the slot."""
        self._sealed += 1
        fade_in = self._sealed / (self._options.fade_frames + 1) if self._fade_in else 1.0
        weight = min(1.0, fade_in, fade_out)
        if self._options.silence == "keep":
            weight *= 1.0 - item.silence
        if item.drawing is not None and weight > 0:
            item.slot.patches.append(Patch(item.drawing, item.crop, weight))
            item.slot.dubbed.append(self.track)
        else:
            item.slot.unchanged.append(self.track)
        item.slot.pending -= 1


def hold_frames(generator: LipSyncModel[Any], options: SegmentOptions, rate: Fraction = Fraction(25)) -> int:
    """The most frames the queue holds for a video of ``rate``: references' wait, a chunk, the lag and the fade."""
    first, later = frames_per_chunk(generator.spec, rate)
    wait = max(frames_to_begin(generator.spec, options.reference_frames), first)
    return max(wait, later + options.fade_frames) + later + lag_frames(generator.spec, rate)
