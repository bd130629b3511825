"""Quality of a stretch of crops and sound in a few numbers: sharpness, damage, fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float32, UInt8

# Rows and columns of a lower-face crop that are face in nearly every picture.
_FACE = (slice(0.25, 0.9), slice(0.2, 0.8))
_CELLS = 12
# Code values by which a cell must change for it to count, or stay for the picture to count as frozen.
_CHANGED, _STILL = 24.0, 0.05
_HASH_FRAMES, _HASH_SIDE = 3, 8
_SLOTS, _BANDS = 32, 16


@dataclass(frozen=True, slots=True)
class Damage:
    """``jump`` is the largest share of the picture that changes at once, ``frozen`` the share of repeated frames."""

    jump: float
    frozen: float


def sharpness(crops: UInt8, source_scale: float) -> float:
    """Variance of the Laplacian of the face at the source's own scale, median of up to five of ``[n s s 3]``.

    ``source_scale`` is source pixels per crop pixel: an enlarged crop is brought back to the source's size first,
    so that the picture is measured and not its enlargement.
    """
    size = crops.shape[1]
    own = max(16, round(size * source_scale)) if source_scale < 1 else size
    rows, columns = (slice(int(part.start * own), int(part.stop * own)) for part in _FACE)
    values = []
    for crop in crops[:: max(1, len(crops) // 5)][:5]:
        grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
        if source_scale < 1:
            grey = cv2.resize(grey, (own, own), interpolation=cv2.INTER_AREA)
        values.append(float(cv2.Laplacian(grey[rows, columns], cv2.CV_64F).var()))
    return float(np.median(values))


def damage(crops: UInt8) -> Damage:
    """Find blocks that jump and frames that repeat in aligned crops ``[n s s 3]`` of one shot."""
    if len(crops) < 2:
        return Damage(0.0, 0.0)
    grey = _cells(crops, 4 * _CELLS)
    steps = np.abs(np.diff(grey, axis=0))
    coarse = steps.reshape(len(steps), _CELLS, 4, _CELLS, 4).mean((2, 4))
    return Damage(float((coarse > _CHANGED).mean((1, 2)).max()), float((steps.mean((1, 2)) < _STILL).mean()))


def picture_hash(crops: UInt8) -> UInt8:
    """Bits, packed: does brightness rise from left to right, in 8 × 8 places of the first, middle and last crop."""
    picked = np.linspace(0, len(crops) - 1, _HASH_FRAMES).round().astype(int)
    small = [
        cv2.resize(
            cv2.cvtColor(np.ascontiguousarray(crops[i]), cv2.COLOR_RGB2GRAY),
            (_HASH_SIDE + 1, _HASH_SIDE),
            interpolation=cv2.INTER_AREA,
        ).astype(np.int16)
        for i in picked
    ]
    return np.packbits(np.diff(np.stack(small), axis=2) > 0)


def sound_hash(mel: Float32) -> UInt8:
    """Bits, packed: does the slope across 16 bands rise from one 32nd of ``[n 80]`` rows to the next.

    The fingerprint of Haitsma and Kalker (2002) over the whole stretch. It survives another codec or loudness.
    """
    bands = mel.reshape(len(mel), _BANDS, -1).mean(2)
    edges = np.linspace(0, len(mel), _SLOTS + 1).round().astype(int)
    slots = np.stack([bands[a : max(b, a + 1)].mean(0) for a, b in pairwise(edges)])
    return np.packbits(np.diff(np.diff(slots, axis=1), axis=0) > 0)


def differing_bits(one: UInt8, others: UInt8) -> npt.NDArray[np.float64]:
    """Share of bits in which ``[k]`` bytes differ from each row of ``[n k]``."""
    return np.asarray(np.unpackbits(one ^ others, axis=-1).mean(-1))


def _cells(crops: UInt8, side: int) -> Float32:
    small = [cv2.resize(np.ascontiguousarray(c), (side, side), interpolation=cv2.INTER_AREA).mean(2) for c in crops]
    return np.stack(small).astype(np.float32)
