"""From tracked frames to composed ones: segments begin and end with their faces, and frames stay in order.

Frames wait in a queue until every segment they belong to has given its patch, and leave it in the order they came.
The queue never holds more than ``hold_frames``, whatever the length of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.concurrency import in_threads
from lipsync_cli.core.types import Crop, Face, FaceState, Frame, Patch, TrackedFrame
from lipsync_cli.dubbing.profiling import StageClock
from lipsync_cli.dubbing.segments import Segment, SegmentOptions, Slot
from lipsync_cli.engines.protocol import LipSyncModel

MAX_GAP_S = Fraction(1, 2)

CutCrop = Callable[[Frame, Face], Crop]
Blend = Callable[[Frame, list[Patch]], Frame]


class SegmentDubber:
    """Dubs the chosen faces of one stream of tracked frames. ``cut`` and ``blend`` know nothing but their frame."""

    def __init__(
        self,
        generator: LipSyncModel[Any],
        speech: SpeechTrack,
        cut: CutCrop,
        blend: Blend,
        options: SegmentOptions,
        clock: StageClock,
    ) -> None:
        self._generator, self._speech, self._options = generator, speech, options
        self._cut, self._blend, self._clock = cut, blend, clock
        self._segments: dict[int, Segment] = {}
        self._queue: deque[Slot] = deque()
        self._shot: int | None = None

    def run(
        self, tracked: Iterable[TrackedFrame], *, ahead: int = 0, workers: int = 1
    ) -> Generator[tuple[Slot, Frame], None, None]:
        """Every frame of ``tracked``, in order: what it was and got, and what it became.

        With ``ahead`` the generator runs in a thread of its own, up to that many frames ahead, and frames are
        composed in ``workers`` threads. Then that many more frames are held.
        """
        slots = self._slots(tracked)
        dubbed = (
            in_threads(self._compose, slots, workers, ahead) if ahead else (self._compose(slot) for slot in slots)
        )
        with closing(dubbed):
            yield from dubbed

    def _compose(self, slot: Slot) -> tuple[Slot, Frame]:
        with self._clock.stage("composite", frames=1):
            return slot, self._blend(slot.frame, slot.patches)

    def _slots(self, tracked: Iterable[TrackedFrame]) -> Iterator[Slot]:
        """A slot with its patches for every frame of ``tracked``, in order."""
        for item in tracked:
            self._take(item)
            yield from self._complete()
        for track in list(self._segments):
            self._end(track, fade_out=False)
        yield from self._complete()

    def _complete(self) -> Iterator[Slot]:
        """The slots at the head of the queue that wait for nothing any more."""
        while self._queue and self._queue[0].pending == 0:
            yield self._queue.popleft()

    def _take(self, item: TrackedFrame) -> None:
        """Queue a frame and push its chosen faces to their segments.

        Where the video or a shot begins or ends there is no untouched frame to hand over from or to: nothing fades.
        """
        slot = Slot(item.frame.without_rgb(), item.shot, item.faces)
        self._queue.append(slot)
        goes_on, self._shot = item.shot == self._shot, item.shot
        chosen = {face.track_id: face for face in item.faces if face.state is FaceState.OK}
        for track in [track for track in self._segments if track not in chosen]:
            self._end(track, fade_out=goes_on)
        for track, face in chosen.items():
            previous = self._segments[track].last_time if track in self._segments else None
            if previous is not None and slot.frame.time - previous > MAX_GAP_S:
                self._end(track, fade_out=goes_on)
            if track not in self._segments:
                self._segments[track] = Segment(track, self._generator, self._speech, self._options, fade_in=goes_on)
            with self._clock.stage("crop"):
                crop = self._cut(item.frame, face)
            with self._clock.stage("generate", frames=1):
                self._segments[track].push(slot, crop)

    def _end(self, track: int, *, fade_out: bool) -> None:
        with self._clock.stage("generate"):
            self._segments.pop(track).finish(fade_out=fade_out)
