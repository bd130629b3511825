"""What a clip is compared with, and which frames belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.clip_reader import ClipReader, count_frames, first_frame_time, read_clip
from lipsync_cli.evaluation.measure import AlignedSound, ClipSounds, MatchedFrames
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, SOURCE, TRUTH, Reference
from lipsync_cli.media.probe import probe


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a clip is compared with. ``source`` is the clip before it was dubbed, ``original`` the sound it had then.

    ``sound`` replaces the clip's own, which is otherwise compared ``delay`` seconds late. ``trim`` compares the
    common part of clips of unequal length instead of refusing them. ``scored`` says which frames count, by number;
    ``observe`` is called with each of them.
    """

    truth: Path | None = None
    source: Path | None = None
    sound: Path | None = None
    original: Path | None = None
    delay: Fraction = Fraction(0)
    face: str = "largest"
    trim: bool = False
    scored: Callable[[int], bool] = lambda index: True
    observe: Callable[[MatchedFrames], None] = lambda frames: None

    def sounds(self, clip: Path, first: Fraction) -> ClipSounds:
        """The sounds of ``clip``, whose first frame is at ``first``; another file's begins with that frame."""
        sound = original = None
        if self.sound is not None:
            sound = AlignedSound(self.sound, (first if self.sound == clip else Fraction(0)) - self.delay)
        elif probe(clip).audio:
            sound = AlignedSound(clip, first - self.delay)
        if self.original is not None:
            has_picture = probe(self.original).video is not None
            original = AlignedSound(self.original, first_frame_time(self.original) if has_picture else Fraction(0))
        return ClipSounds(first, sound, original)

    def references(self, sounds: ClipSounds) -> frozenset[Reference]:
        """What there is to compare with."""
        paths = {SOUND: sounds.sound, ORIGINAL: sounds.original}
        return self.clips | {reference for reference, value in paths.items() if value is not None}

    @property
    def clips(self) -> frozenset[Reference]:
        """What there is to compare frames with."""
        paths = {TRUTH: self.truth, SOURCE: self.source}
        return frozenset(reference for reference, value in paths.items() if value is not None)


@dataclass(frozen=True, slots=True)
class ComparedClips:
    """A clip and what it is compared with, open: matched ``frames`` in order, ``total`` of them if that is known."""

    result: ClipReader
    frames: Iterator[MatchedFrames]
    total: int | None


@contextmanager
def open_compared(path: Path, comparison: Comparison) -> Iterator[ComparedClips]:
    """Open a clip and its partners.

    Raises InputError for unreadable files and for clips that cannot be compared frame by frame.
    """
    limit = common_length(path, comparison)
    with ExitStack() as stack:
        result = stack.enter_context(read_clip(path, face=comparison.face))
        truth = _partner(stack, result, comparison.truth, comparison.face)
        same = comparison.source == comparison.truth
        source = truth if same else _partner(stack, result, comparison.source, comparison.face)
        total = limit if limit is not None else result.video.frames
        yield ComparedClips(result, _matched(result, source, truth, limit), total)


def common_length(path: Path, comparison: Comparison) -> int | None:
    """How many frames can be compared, or None; InputError for unequal clips unless they are trimmed."""
    clips = (comparison.truth, comparison.source)
    partners = {other for other in clips if other is not None and other != path}
    if not partners:
        return None
    counts = {other: count_frames(other) for other in {path, *partners}}
    if len(set(counts.values())) > 1 and not comparison.trim:
        lengths = ", ".join(f"{other.name} has {count}" for other, count in sorted(counts.items()))
        raise InputError(
            f"The clips differ in length ({lengths} frames), so their frames do not belong together.",
            hint="Compare clips of the same frames, or the part they share with --trim.",
        )
    return min(counts.values())


def _partner(stack: ExitStack, result: ClipReader, path: Path | None, face: str) -> ClipReader | None:
    """The clip to compare with, opened; its pictures must be as large and its frames as many a second."""
    if path is None:
        return None
    other = stack.enter_context(read_clip(path, face=face))
    a, b = result.video, other.video
    if (a.width, a.height, a.rotation) != (b.width, b.height, b.rotation):
        raise InputError(
            f"{path.name} is {b.width}×{b.height} and {result.info.path.name} is {a.width}×{a.height}.",
            hint="Only pictures of the same size can be compared.",
        )
    if abs(a.rate - b.rate) * 1000 > a.rate:
        raise InputError(
            f"{path.name} has {float(b.rate):g} frames per second and {result.info.path.name} {float(a.rate):g}.",
            hint="Frames can only be compared at the same rate.",
        )
    return other


def _matched(
    result: ClipReader, source: ClipReader | None, truth: ClipReader | None, limit: int | None
) -> Iterator[MatchedFrames]:
    for frame in result.frames:
        if frame.index == limit:
            return
        real = None if truth is None else next(truth.frames)
        before = real if source is truth else None if source is None else next(source.frames)
        yield MatchedFrames(frame, before, real)
