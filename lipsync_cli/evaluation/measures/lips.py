"""What lips do, by 68 landmarks: how far they are from true lips, whether they open when those do, and in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.landmarks68 import MOUTH, interocular_px
from lipsync_cli.core.types import Float64
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOUND, TRUTH
from lipsync_cli.media.audio import open_speech

MAX_OFFSET = 4
# Below this many frames a correlation is noise.
MIN_FRAMES = 12
# An aperture that moves less than this share of the inter-ocular distance is a still mouth.
STILL_APERTURE = 1e-4


@dataclass(frozen=True, slots=True)
class ApertureCorrelation:
    """Pearson correlations: at the best offset within ± 4 frames, which it is, and at offset 0.

    A positive ``offset`` means that the first series is late by so many frames.
    """

    best: float
    offset: int
    at_zero: float


def mouth_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """LMD: mean distance of lip points 48–67 of landmarks ``[68 2]`` over the inter-ocular distance of ``b``.

    Each mouth is taken around its own mean, so that only its shape counts.
    """
    first, second = (np.asarray(points, np.float64)[list(MOUTH)] for points in (a, b))
    apart = (first - first.mean(0)) - (second - second.mean(0))
    return float(np.linalg.norm(apart, axis=1).mean()) / max(interocular_px(b), 1e-6)


def aperture_correlation(
    result: npt.ArrayLike, truth: npt.ArrayLike, *, max_offset: int = MAX_OFFSET
) -> ApertureCorrelation | None:
    """Correlation of two aperture series ``[n]`` frame by frame; NaN entries (no face) are left out in pairs.

    None when too few frames remain or one of the mouths does not move. Raises ValueError for unequal lengths.
    """
    first, second = np.asarray(result, np.float64), np.asarray(truth, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"two series of equal length are needed, got {first.shape} and {second.shape}")
    by_offset = {shift: _shifted_correlation(first, second, shift) for shift in range(-max_offset, max_offset + 1)}
    at_zero = by_offset[0]
    measured = {shift: value for shift, value in by_offset.items() if value is not None}
    if at_zero is None or not measured:
        return None
    # Of equal values the smallest shift counts.
    offset = max(measured, key=lambda shift: (measured[shift], -abs(shift)))
    return ApertureCorrelation(measured[offset], offset, at_zero)


def _shifted_correlation(first: Float64, second: Float64, shift: int) -> float | None:
    """Correlation of ``first[i + shift]`` with ``second[i]``."""
    n = len(first)
    a = first[max(shift, 0) : n + min(shift, 0)]
    b = second[max(-shift, 0) : n + min(-shift, 0)]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < MIN_FRAMES or a.std() < STILL_APERTURE or b.std() < STILL_APERTURE:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def silent_aperture(aperture: npt.ArrayLike, silence: npt.ArrayLike, *, min_frames: int = 3) -> float | None:
    """Mean aperture over frames deep in silence (``silence`` above 0.99), None with fewer than ``min_frames``."""
    opening, quiet = np.asarray(aperture, np.float64), np.asarray(silence, np.float64) > 0.99
    values = opening[quiet & np.isfinite(opening)]
    return float(values.mean()) if len(values) >= min_frames else None


def aperture_spread(result: npt.ArrayLike, truth: npt.ArrayLike) -> float | None:
    """Standard deviation of a series ``[n]`` over that of another, where both have a face; None for a still one."""
    first, second = np.asarray(result, np.float64), np.asarray(truth, np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    return float(first.std() / second.std()) if len(second) and second.std() > 0 else None


class LipMotion(Measure):
    """The lips' opening and shape; gives the opening over time, of the clip and of the truth."""

    metrics = (
        Metric(
            name="aperture_corr",
            title="Aperture corr.",
            better="higher",
            section="lips",
            needs=(TRUTH,),
            meaning="lip opening against the truth's, best of ± 4 frames",
        ),
        Metric(
            name="aperture_corr_0",
            title="Aperture corr. at 0",
            better="higher",
            section="lips",
            needs=(TRUTH,),
            meaning="lip opening against the truth's, frame by frame",
            shown="table",
        ),
        Metric(
            name="aperture_offset",
            title="Aperture offset",
            better="zero",
            digits=1,
            section="lips",
            needs=(TRUTH,),
            meaning="frames by which the lips are late at the best offset",
            shown="table",
        ),
        Metric(
            name="aperture_spread",
            title="Aperture spread",
            better="one",
            digits=2,
            section="lips",
            needs=(TRUTH,),
            meaning="standard deviation of the opening over the truth's",
            shown="clips",
        ),
        Metric(
            name="lmd",
            title="LMD",
            better="lower",
            digits=4,
            section="lips",
            needs=(TRUTH,),
            meaning="distance of lip landmarks over the inter-ocular distance",
        ),
        Metric(
            name="silence_aperture",
            title="Silent aperture",
            better="lower",
            digits=4,
            section="lips",
            meaning="lip opening while the sound is silent",
            needs=(SOUND,),
            shown="clips",
        ),
    )
    series_names = ("times", "apertures", "true_apertures")

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._times: list[Fraction] = []
        self._result: list[float] = []
        self._truth: list[float] = []
        self._distances: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        result, truth = frames.result, frames.truth
        self._times.append(result.time)
        self._result.append(result.aperture)
        if truth is not None:
            self._truth.append(truth.aperture)
            if result.face is not None and truth.face is not None:
                self._distances.append(mouth_distance(result.face.landmarks, truth.face.landmarks))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        values = {"silence_aperture": self._silent_aperture(sounds), "lmd": mean_or_none(self._distances)}
        if self._truth:
            values["aperture_spread"] = aperture_spread(self._result, self._truth)
            if (correlation := aperture_correlation(self._result, self._truth)) is not None:
                values["aperture_corr"] = correlation.best
                values["aperture_corr_0"] = correlation.at_zero
                values["aperture_offset"] = float(correlation.offset)
        return values

    def series(self, sounds: ClipSounds) -> Mapping[str, Sequence[float]]:
        """Seconds from the clip's first frame, and both openings at these, NaN without a face."""
        times = [float(time - sounds.first) for time in self._times]
        return {"times": times, "apertures": self._result, "true_apertures": self._truth}

    def _silent_aperture(self, sounds: ClipSounds) -> float | None:
        if sounds.sound is None:
            return None
        start = sounds.sound.start - sounds.first
        with open_speech(sounds.sound.path) as spans:
            speech = SpeechTrack(iter(spans))
            return silent_aperture(self._result, [speech.silence(float(time + start)) for time in self._times])
