"""Running measures of a clip and of pairs of clips: fed frame by frame, they hold numbers and three pictures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import numpy as np

from lipsync_cli.core.geometry import transform_points, warp_to_crop
from lipsync_cli.core.mouth_region import LOWER_FACE_REGION
from lipsync_cli.core.types import Crop, Float64, UInt8
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.measures import perceptual
from lipsync_cli.evaluation.measures.identity import cosine_similarity
from lipsync_cli.evaluation.measures.image import border_error, flicker, psnr, sharpness, squared_error, ssim
from lipsync_cli.evaluation.measures.lips import aperture_correlation, mouth_distance
from lipsync_cli.faces.face_patch import cut_patch, pose_of_landmarks
from lipsync_cli.faces.identity import DlibRecogniser, FaceRecogniser

EMBED_EVERY = 10
# The mouth in a lower-face crop, in sixteenths: the same window that the sync expert looks at.
_MOUTH = (6, 12, 3, 13)


def mouth_box(crop: UInt8) -> UInt8:
    """The mouth's part of a lower-face crop ``[s s 3]``."""
    unit = crop.shape[0] / 16
    top, bottom, left, right = (round(v * unit) for v in _MOUTH)
    return crop[top:bottom, left:right]


def mean_or_none(values: list[float]) -> float | None:
    """Mean of what was measured, None if nothing was."""
    return float(np.mean(values)) if values else None


@dataclass(slots=True)
class Lips:
    """Times, apertures (NaN without a face) and frame numbers of the scored frames."""

    times: list[Fraction] = field(default_factory=list)
    apertures: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def add(self, reading: MeasuredFrame) -> None:
        self.times.append(reading.time)
        self.apertures.append(reading.aperture)
        self.frames.append(reading.index)


class FlickerMeter:
    """Flicker of the lower face over three consecutive frames, all seen where the middle one's crop lies."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, UInt8, Crop | None]] = deque(maxlen=3)
        self.values: list[float] = []

    def add(self, index: int, rgb: UInt8, crop: Crop | None) -> None:
        """The next frame and where its face lies."""
        self._last.append((index, rgb, crop))
        if len(self._last) < 3 or self._last[0][0] != index - 2:
            return
        middle = self._last[1][2]
        if middle is None or self._last[0][2] is None or crop is None:
            return
        rows, columns = LOWER_FACE_REGION.window(middle.alignment.size)
        cut = [recut(rgb, middle)[rows, columns] for _, rgb, _ in self._last]
        value = flicker(cut[0], cut[1], cut[2])
        if value is not None:
            self.values.append(value)


def recut(rgb: UInt8, crop: Crop) -> UInt8:
    """The part of another frame where ``crop`` lies."""
    return cast(UInt8, warp_to_crop(rgb, crop.alignment.matrix, crop.alignment.size))


@dataclass(slots=True)
class TruthMeter:
    """Made frames against the true ones of the same number."""

    lpips_network: Any = None
    errors: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    real: list[float] = field(default_factory=list)
    made: list[float] = field(default_factory=list)

    def add(self, made: MeasuredFrame, real: MeasuredFrame) -> None:
        self.made.append(made.aperture)
        self.real.append(real.aperture)
        if made.face is not None and real.face is not None:
            self.distances.append(mouth_distance(made.face.landmarks, real.face.landmarks))
        if real.crop is None:
            return
        crop = recut(made.rgb, real.crop)
        self.errors.append(squared_error(crop, real.crop.rgb))
        self.similarities.append(ssim(crop, real.crop.rgb))
        if self.lpips_network is not None:
            self.lpips.append(perceptual.lpips(self.lpips_network, crop, real.crop.rgb))

    def results(self) -> dict[str, float | None]:
        found = aperture_correlation(self.made, self.real)
        both = np.isfinite(self.made) & np.isfinite(self.real)
        made, real = np.array(self.made)[both], np.array(self.real)[both]
        spread = float(made.std() / real.std()) if len(real) and real.std() > 0 else None
        return {
            "aperture_corr": found.best if found else None,
            "aperture_corr_0": found.at_zero if found else None,
            "aperture_offset": float(found.offset) if found else None,
            "aperture_spread": spread,
            "lmd": mean_or_none(self.distances),
            "psnr": psnr(float(np.mean(self.errors))) if self.errors else None,
            "ssim": mean_or_none(self.similarities),
            "lpips": mean_or_none(self.lpips),
        }


@dataclass(slots=True)
class SourceMeter:
    """Made frames against those they were made from: what a dub should keep."""

    to_display: Float64
    recogniser: FaceRecogniser = field(default_factory=DlibRecogniser)
    border: list[float] = field(default_factory=list)
    made_sharpness: list[float] = field(default_factory=list)
    real_sharpness: list[float] = field(default_factory=list)
    likeness: list[float] = field(default_factory=list)
    _flicker: tuple[FlickerMeter, FlickerMeter] = field(default_factory=lambda: (FlickerMeter(), FlickerMeter()))
    _seen: int = 0

    def add(self, made: MeasuredFrame, real: MeasuredFrame) -> None:
        self.border.append(border_error(made.rgb, real.rgb))
        for meter, reading in zip(self._flicker, (made, real), strict=True):
            meter.add(reading.index, reading.rgb, real.crop)
        if real.crop is not None:
            self.made_sharpness.append(sharpness(mouth_box(recut(made.rgb, real.crop))))
            self.real_sharpness.append(sharpness(mouth_box(real.crop.rgb)))
        if made.face is not None and real.face is not None:
            if self._seen % EMBED_EVERY == 0:
                self.likeness.append(cosine_similarity(self._embed(made), self._embed(real)))
            self._seen += 1

    def results(self) -> dict[str, float | None]:
        real = mean_or_none(self.real_sharpness)
        made = mean_or_none(self.made_sharpness)
        still = mean_or_none(self._flicker[1].values)
        moved = mean_or_none(self._flicker[0].values)
        return {
            "sharpness_ratio": made / real if made is not None and real else None,
            "flicker_ratio": moved / still if moved is not None and still else None,
            "border_psnr": psnr(float(np.mean(self.border))) if self.border else None,
            "csim": mean_or_none(self.likeness),
        }

    def _embed(self, reading: MeasuredFrame) -> Float64:
        assert reading.face is not None
        patch = cut_patch(reading.rgb, self.to_display, pose_of_landmarks(reading.face.landmarks))
        return self.recogniser.embed(patch.rgb, transform_points(patch.matrix, reading.face.landmarks))
