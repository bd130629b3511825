"""How well a result keeps what no dub touches: everything outside a box around the sample portrait's lower face."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lipsync_cli.core.types import Plane
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames

# Rows and columns of luma in the 480 × 480 portrait; chroma planes are masked at their own scale.
TOP, BOTTOM, LEFT, RIGHT = 150, 345, 140, 350


class Psnr(NamedTuple):
    """Peak signal-to-noise ratios in dB, infinite where nothing differs.

    ``average`` is what ffmpeg's psnr filter calls so: the squared errors of all planes' samples together.
    """

    luma: float
    average: float

    def __str__(self) -> str:
        return f"y {self.luma:.2f} dB, average {self.average:.2f} dB"


def psnr_outside(source: Path, result: Path) -> Psnr:
    """PSNR of an 8-bit ``result`` outside the lower face, over all frames; both must have equally many."""
    totals = []
    with open_frames(probe(source), with_rgb=False) as a, open_frames(probe(result), with_rgb=False) as b:
        for before, after in zip(a, b, strict=True):
            totals.append([_errors(one, other) for one, other in zip(before.planes, after.planes, strict=True)])
    squared, samples = np.sum(totals, axis=0).T
    return Psnr(_decibels(squared[0] / samples[0]), _decibels(squared.sum() / samples.sum()))


def _errors(before: Plane, after: Plane) -> tuple[float, int]:
    """Sum of squared differences outside the box, and how many samples lie there."""
    scale = 480 / before.shape[0]
    squared = (before.astype(np.float64) - after) ** 2
    outside = np.ones(before.shape, bool)
    outside[int(TOP / scale) : ceil(BOTTOM / scale), int(LEFT / scale) : ceil(RIGHT / scale)] = False
    return float(squared[outside].sum()), int(outside.sum())


def _decibels(error: float) -> float:
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
