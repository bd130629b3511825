"""One clip scored: alone, against the truth, and against the clip it was made from. Reads each file once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.errors import InputError, NoFaceError
from lipsync_cli.evaluation.accumulators import FlickerMeter, Lips, SourceMeter, TruthMeter, mean_or_none
from lipsync_cli.evaluation.clip_reader import (
    ClipReader,
    MeasuredFrame,
    count_frames,
    first_frame_time,
    on_grid,
    read_clip,
)
from lipsync_cli.evaluation.measures.av_offset import SyncScore
from lipsync_cli.evaluation.measures.lips import silent_aperture
from lipsync_cli.evaluation.measures.stable_sync import StableSyncMeter
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, Run, score_runs
from lipsync_cli.evaluation.measures.syncnet_track import SyncNetMeter
from lipsync_cli.evaluation.metrics import METRICS, SOUND_METRICS
from lipsync_cli.evaluation.networks import MetricNetworks
from lipsync_cli.evaluation.reasons import why_not_measured
from lipsync_cli.media.audio import open_speech
from lipsync_cli.media.probe import probe

OnFrame = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a clip is compared with. ``source`` is the clip before it was dubbed, ``original`` the sound it had then.

    ``sound`` replaces the clip's own, which is otherwise compared ``delay`` seconds late. ``trim`` compares the
    common part of clips of unequal length instead of refusing them. ``scored`` says which frames count, by number;
    ``observe`` sees each of them with the same frame of the source.
    """

    truth: Path | None = None
    source: Path | None = None
    sound: Path | None = None
    original: Path | None = None
    delay: Fraction = Fraction(0)
    face: str = "largest"
    trim: bool = False
    scored: Callable[[int], bool] = lambda index: True
    observe: Callable[[MeasuredFrame, MeasuredFrame | None], None] = lambda made, before: None


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Every metric by name, None with a reason in ``not_measured``; the series behind the plots."""

    path: str
    frames: int
    scored_frames: int
    metrics: dict[str, float | None]
    not_measured: dict[str, str]
    sync_curve: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    apertures: tuple[float, ...] = ()
    true_apertures: tuple[float, ...] = ()


@dataclass(slots=True)
class Measured:
    """What one pass over a clip gave."""

    lips: Lips
    flicker: FlickerMeter
    expert: ExpertMeter
    syncnet: SyncNetMeter | None
    stable_sync: StableSyncMeter | None
    truth: TruthMeter | None
    source: SourceMeter | None
    read: int = 0
    frames: int = 0
    faces: int = 0
    first: Fraction = Fraction(0)


def score_clip(
    path: Path,
    judges: MetricNetworks,
    comparison: Comparison | None = None,
    on_frame: OnFrame = lambda done, total: None,
) -> ClipScore:
    """Measure ``path`` and compare it with its sound; raises what ``measure_clip`` raises."""
    what = comparison or Comparison()
    return score_measured(path, judges, what, measure_clip(path, judges, what, on_frame))


def measure_clip(
    path: Path, judges: MetricNetworks, what: Comparison, on_frame: OnFrame = lambda done, total: None
) -> Measured:
    """Read ``path`` and what it is compared with once: all that does not depend on a sound.

    Raises InputError for unreadable files and for clips that cannot be compared frame by frame, NoFaceError when no
    scored frame shows a usable face.
    """
    limit = reconcile(path, what)
    with ExitStack() as stack:
        made = stack.enter_context(read_clip(path, face=what.face))
        truth = _partner(stack, made, what.truth, what.face)
        source = truth if what.source == what.truth else _partner(stack, made, what.source, what.face)
        meters = Measured(
            Lips(), FlickerMeter(), ExpertMeter(judges.expert),
            None if judges.syncnet is None else SyncNetMeter(judges.syncnet, made.to_display),
            None if judges.stable_sync is None else StableSyncMeter(judges.stable_sync, made.to_display),
            None if truth is None else TruthMeter(judges.lpips),
            None if source is None else SourceMeter(made.to_display),
        )  # fmt: skip
        _read(made, truth, source, meters, what, limit, on_frame)
    if not meters.faces:
        raise NoFaceError(
            f"None of the {meters.frames} scored frames of {path.name} shows a face that can be measured.",
            hint="Check --face.",
        )
    return meters


def reconcile(path: Path, what: Comparison) -> int | None:
    """How many frames can be compared, or None; InputError for unequal clips unless they are trimmed."""
    partners = {other for other in (what.truth, what.source) if other is not None and other != path}
    if not partners:
        return None
    counts = {other: count_frames(other) for other in {path, *partners}}
    if len(set(counts.values())) > 1 and not what.trim:
        said = ", ".join(f"{other.name} has {count}" for other, count in sorted(counts.items()))
        raise InputError(
            f"The clips differ in length ({said} frames), so their frames do not belong together.",
            hint="Compare clips of the same frames, or the part they share with --trim.",
        )
    return min(counts.values())


def _partner(stack: ExitStack, made: ClipReader, path: Path | None, face: str) -> ClipReader | None:
    """The clip to compare with, opened; its pictures must be as large and its frames as many a second."""
    if path is None:
        return None
    other = stack.enter_context(read_clip(path, face=face))
    a, b = made.video, other.video
    if (a.width, a.height, a.rotation) != (b.width, b.height, b.rotation):
        raise InputError(
            f"{path.name} is {b.width}×{b.height} and {made.info.path.name} is {a.width}×{a.height}.",
            hint="Only pictures of the same size can be compared.",
        )
    if abs(a.rate - b.rate) * 1000 > a.rate:
        raise InputError(
            f"{path.name} has {float(b.rate):g} frames per second and {made.info.path.name} {float(a.rate):g}.",
            hint="Frames can only be compared at the same rate.",
        )
    return other


def _read(
    made: ClipReader,
    truth: ClipReader | None,
    source: ClipReader | None,
    meters: Measured,
    what: Comparison,
    limit: int | None,
    on_frame: OnFrame,
) -> None:
    total = limit if limit is not None else made.video.frames

    def timed() -> Iterator[tuple[Fraction, MeasuredFrame | None]]:
        for reading in made.readings:
            if reading.index == limit:
                return
            real = None if truth is None else next(truth.readings)
            before = real if source is truth else None if source is None else next(source.readings)
            meters.read += 1
            on_frame(meters.read, total)
            if reading.index == 0:
                meters.first = reading.time
            counts = what.scored(reading.index)
            if counts:
                _measure(meters, reading, real, before)
                what.observe(reading, before)
            yield reading.time, reading if counts else None

    for shown in on_grid(timed()):
        usable = shown is not None and shown.crop is not None and shown.face is not None
        meters.expert.add(shown.crop.rgb if shown is not None and shown.crop is not None else None)
        if meters.syncnet is not None:
            meters.syncnet.add(shown if usable else None)
        if meters.stable_sync is not None:
            meters.stable_sync.add(shown if usable else None)


def _measure(meters: Measured, made: MeasuredFrame, real: MeasuredFrame | None, before: MeasuredFrame | None) -> None:
    meters.frames += 1
    meters.faces += made.face is not None
    meters.lips.add(made)
    meters.flicker.add(made.index, made.rgb, made.crop)
    if meters.truth is not None and real is not None:
        meters.truth.add(made, real)
    if meters.source is not None and before is not None:
        meters.source.add(made, before)


def _silence(sound: Path, times: list[Fraction]) -> list[float]:
    with _speech(sound) as speech:
        return [speech.silence(float(time)) for time in times]


@contextmanager
def _speech(path: Path) -> Iterator[SpeechTrack]:
    with open_speech(path) as spans:
        yield SpeechTrack(iter(spans))


def score_measured(path: Path, judges: MetricNetworks, what: Comparison, meters: Measured) -> ClipScore:
    """Compare what was measured with the sound ``what`` names; may be asked again for another sound."""
    sound = what.sound or (path if probe(path).audio else None)
    values: dict[str, float | None] = {"flicker": mean_or_none(meters.flicker.values)}
    values["face_share"] = meters.faces / meters.frames
    reasons: dict[str, str] = {}
    runs = meters.expert.finish()
    score = None
    start = _start(sound, path, meters.first) - what.delay
    if sound is None:
        reasons |= dict.fromkeys(SOUND_METRICS, "the clip has no sound")
    else:
        score = score_runs(judges.expert, runs, sound, start)
        values |= _expert_values(score)
        silence = _silence(sound, [time - what.delay for time in meters.lips.times])
        values["silence_aperture"] = silent_aperture(meters.lips.apertures, silence)
        values |= _syncnet_values(meters, sound, start) | _stable_sync_values(meters, sound, start)
    values["leak"] = _leak(judges, runs, what.original)
    values |= meters.truth.results() if meters.truth else {}
    values |= meters.source.results() if meters.source else {}
    reasons |= why_not_measured(values, judges, what)
    return ClipScore(
        path=str(path),
        frames=meters.read,
        scored_frames=meters.frames,
        metrics={name: values.get(name) for name in METRICS},
        not_measured={name: reason for name, reason in reasons.items() if values.get(name) is None},
        sync_curve=score.curve if score else (),
        times=tuple(float(time - meters.first) for time in meters.lips.times),
        apertures=tuple(meters.lips.apertures),
        true_apertures=tuple(meters.truth.real) if meters.truth else (),
    )


def _start(sound: Path | None, path: Path, first: Fraction) -> Fraction:
    """The second of ``sound`` that belongs to the clip's first frame: its own clock, or 0 of another file."""
    return first if sound == path else Fraction(0)


def _expert_values(score: SyncScore | None) -> dict[str, float | None]:
    if score is None:
        return {}
    return {
        "sync_confidence": score.confidence,
        "sync_distance": score.distance,
        "sync_probability": 1 - score.at(0),
        "av_offset": float(score.av_offset),
    }


def _syncnet_values(meters: Measured, sound: Path, start: Fraction) -> dict[str, float | None]:
    score = None if meters.syncnet is None else meters.syncnet.score(sound, start)
    if score is None:
        return {}
    return {"lse_c": score.confidence, "lse_d": score.distance, "syncnet_offset": float(score.av_offset)}


def _stable_sync_values(meters: Measured, sound: Path, start: Fraction) -> dict[str, float | None]:
    score = None if meters.stable_sync is None else meters.stable_sync.score(sound, start)
    if score is None:
        return {}
    return {
        "stable_sync": 1 - score.at(0),
        "stable_sync_confidence": score.confidence,
        "stable_sync_offset": float(score.av_offset),
    }


def _leak(judges: MetricNetworks, runs: list[Run], original: Path | None) -> float | None:
    """How much nearer the original sound is at offset 0 than at the median offset."""
    if original is None:
        return None
    start = first_frame_time(original) if probe(original).video is not None else Fraction(0)
    score = score_runs(judges.expert, runs, original, start)
    return None if score is None else score.confidence + score.distance - score.at(0)
