"""One clip scored: alone, against the truth, and against the clip it was made from. Reads each file once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from math import copysign, isfinite, isnan
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.core.types import Float32
from lipsync_cli.evaluation.clip_reader import MeasuredFrame, on_grid
from lipsync_cli.evaluation.comparison import ComparedClips, Comparison, open_compared
from lipsync_cli.evaluation.measure import ClipContext, Measure
from lipsync_cli.evaluation.metric import OVER_CLIPS, Metric
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, Inputs
from lipsync_cli.evaluation.registry import load_networks, measures, metrics

OnFrame = Callable[[int, int | None], None]
LOSSLESS_DB = 99.0


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Every metric by name, None with a reason in ``not_measured``; the ``series`` behind the plots, by name."""

    path: str
    frames: int
    scored_frames: int
    metrics: dict[str, float | None]
    not_measured: dict[str, str]
    series: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it: series beside the rest, NaN as null, and an infinite PSNR as 99 dB."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "series"}
        return {key: _finite(value) for key, value in (values | self.series).items()}


def score_clip(
    path: Path,
    comparison: Comparison | None = None,
    networks: MetricNetworks | None = None,
    on_frame: OnFrame = lambda done, total: None,
) -> ClipScore:
    """Measure ``path`` and compare it with its sound; raises what ``measure_clip`` raises."""
    comparison = comparison or Comparison()
    networks = load_networks() if networks is None else networks
    return measure_clip(path, comparison, networks, on_frame=on_frame).score(comparison)


def measure_clip(
    path: Path,
    comparison: Comparison,
    networks: MetricNetworks,
    *,
    pooled: bool = False,
    on_frame: OnFrame = lambda done, total: None,
) -> MeasuredClip:
    """Read ``path`` and what it is compared with once: all that does not depend on a sound.

    ``pooled`` takes the features of metrics over many clips, too. Raises InputError for unreadable files and for
    clips that cannot be compared frame by frame, NoFaceError when no scored frame shows a usable face.
    """
    with open_compared(path, comparison) as clips:
        clip = MeasuredClip(path, networks, _create_measures(clips, comparison, networks, pooled=pooled))
        for frame in on_grid(_measured(clips, comparison, clip, on_frame)):
            for measure in clip.measures:
                measure.add_on_grid(frame)
    if not clip.faces:
        raise NoFaceError(
            f"None of the {clip.scored_frames} scored frames of {path.name} shows a face that can be measured.",
            hint="Check --face.",
        )
    return clip


@dataclass(slots=True)
class MeasuredClip:
    """What one pass over a clip gave: ``frames`` read, those scored, and those of them with a usable ``faces``."""

    path: Path
    networks: MetricNetworks
    measures: list[Measure]
    frames: int = 0
    scored_frames: int = 0
    faces: int = 0
    first: Fraction = Fraction(0)

    def score(self, comparison: Comparison) -> ClipScore:
        """Compare what was measured with the sounds of ``comparison``; may be asked again for others."""
        sounds = comparison.sounds(self.path, self.first)
        inputs = Inputs(comparison.references(sounds), self.networks.options)
        values: dict[str, float | None] = {}
        series: dict[str, tuple[float, ...]] = {name: () for measure in measures() for name in measure.series_names}
        for measure in self.measures:
            values |= measure.values(sounds)
            series |= {name: tuple(curve) for name, curve in measure.series(sounds).items()}
        reasons = {name: _why_not(metric, values.get(name), inputs) for name, metric in metrics().items()}
        return ClipScore(
            path=str(self.path),
            frames=self.frames,
            scored_frames=self.scored_frames,
            metrics={name: None if reason else values[name] for name, reason in reasons.items()},
            not_measured={name: reason for name, reason in reasons.items() if reason},
            series=series,
        )

    def features(self) -> Mapping[str, Float32]:
        """Rows for the metrics that are pooled over clips."""
        return {name: rows for measure in self.measures for name, rows in measure.features().items()}


def _create_measures(
    clips: ComparedClips, comparison: Comparison, networks: MetricNetworks, *, pooled: bool
) -> list[Measure]:
    """Those that have what they need while frames are read; sounds may still be chosen later."""
    context = ClipContext(clips.result.to_display, networks)
    inputs = Inputs(comparison.clips | {SOUND, ORIGINAL}, networks.options)

    def measurable(metric: Metric) -> bool:
        return (pooled or metric.pool is None) and not metric.why_missing(inputs)

    return [measure(context) for measure in measures() if any(measurable(metric) for metric in measure.metrics)]


def _measured(
    clips: ComparedClips, comparison: Comparison, clip: MeasuredClip, on_frame: OnFrame
) -> Iterator[tuple[Fraction, MeasuredFrame | None]]:
    """Times of all frames with those that are scored and show a usable face, each measured as it passes."""
    for frames in clips.frames:
        frame = frames.result
        clip.frames += 1
        on_frame(clip.frames, clips.total)
        if frame.index == 0:
            clip.first = frame.time
        scored = comparison.scored(frame.index)
        if scored:
            clip.scored_frames += 1
            clip.faces += frame.face is not None
            for measure in clip.measures:
                measure.add(frames)
            comparison.observe(frames)
        yield frame.time, frame if scored and frame.face is not None else None


def _why_not(metric: Metric, value: float | None, inputs: Inputs) -> str:
    if (reason := metric.why_missing(inputs)) or value is not None:
        return reason
    return "too few frames to measure it" if metric.pool is None else OVER_CLIPS


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None if isnan(value) else copysign(LOSSLESS_DB, value)
    return value
