"""What SyncNet v2 is shown and how its embeddings are compared.

Crops, MFCCs, windows and scores follow joonson/syncnet_python, zero padding at the ends included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.audio.mfcc import mfcc
from lipsync_cli.core.geometry import compose_affine
from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.evaluation.measures.av_offset import MAX_OFFSET, Embeddings, SyncScore, offset_sums, score_curve

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2

CROP_PX = 224
STACK = 5
COLUMNS, COLUMNS_PER_FRAME = 20, 4
SAMPLES_PER_FRAME = 640
MEDIAN_FRAMES = 13
_PAD_LEVEL = 110
_CROP_SCALE = 0.4
_BATCH = 8
Box = tuple[float, float, float, float]
Placed = tuple[Float64, UInt8]
_REACH = MEDIAN_FRAMES // 2
_NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)


def median_boxes(boxes: Sequence[Box]) -> Float64:
    """Half sides and centres ``[n 3]`` (s, x, y) of boxes, median-filtered over 13 frames, zeros beyond the ends."""
    values = np.array([(max(x1 - x0, y1 - y0) / 2, (x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes])
    padded = np.pad(values, ((_REACH, _REACH), (0, 0)))
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_FRAMES, axis=0), axis=-1))


class BoxSmoother:
    """Gives each picture back with its median-filtered (s, x, y), six pictures later; holds seven pictures."""

    def __init__(self) -> None:
        self._boxes: deque[Box] = deque([_NO_BOX] * _REACH, MEDIAN_FRAMES)
        self._held: deque[UInt8] = deque()

    def push(self, box: Box, picture: UInt8) -> list[Placed]:
        """The next picture and its box x0, y0, x1, y1."""
        self._boxes.append(box)
        self._held.append(picture)
        return [self._release()] if len(self._held) > _REACH else []

    def finish(self) -> list[Placed]:
        """What is still held."""
        out = []
        while self._held:
            self._boxes.append(_NO_BOX)
            if len(self._boxes) == MEDIAN_FRAMES:
                out.append(self._release())
        return out

    def _release(self) -> Placed:
        place = median_boxes(list(self._boxes))[_REACH]
        return place, self._held.popleft()


def cut_face(rgb: UInt8, place: npt.ArrayLike, to_display: npt.ArrayLike) -> UInt8:
    """BGR crop ``[224 224 3]`` of rows y − s … y + 1.8 s, columns x ∓ 1.4 s in display pixels; grey 110 outside."""
    s, x, y = np.asarray(place, np.float64)
    scale = CROP_PX / max(2 * s * (1 + _CROP_SCALE), 1e-6)
    left, top = x - s * (1 + _CROP_SCALE), y - s
    # The outer edge of the crop's first pixel lies on the outer edge of the part that is cut.
    matrix = np.array([[scale, 0, -scale * left + (scale - 1) / 2], [0, scale, -scale * top + (scale - 1) / 2]])
    crop = cv2.warpAffine(rgb, compose_affine(matrix, to_display), (CROP_PX, CROP_PX), borderValue=(_PAD_LEVEL,) * 3)
    return np.ascontiguousarray(crop[..., ::-1], dtype=np.uint8)


class FaceEmbedder:
    """Embeds every five consecutive crops ``[224 224 3]``; holds a dozen of them."""

    def __init__(self, network: SyncNetV2) -> None:
        self._network = network
        self._held: list[UInt8] = []
        self._rows: list[Embeddings] = []

    def push(self, crop: UInt8) -> None:
        """The next crop."""
        self._held.append(crop)
        if len(self._held) == _BATCH + STACK - 1:
            self._run()

    def finish(self) -> Embeddings:
        """Embeddings ``[n − 4 1024]`` of all crops so far."""
        if len(self._held) >= STACK:
            self._run()
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 1024), np.float32)

    def _run(self) -> None:
        import torch

        stacks = np.lib.stride_tricks.sliding_window_view(np.stack(self._held), STACK, axis=0)
        pixels = torch.from_numpy(np.ascontiguousarray(stacks.transpose(0, 3, 4, 1, 2))).float()
        with torch.inference_mode():
            self._rows.append(self._network.picture(pixels).numpy())
        self._held = self._held[len(self._held) - STACK + 1 :]


def embed_sound(network: SyncNetV2, samples: npt.NDArray[np.int16], count: int) -> Embeddings:
    """Embeddings ``[count 1024]`` of the 0.2 s from each of ``count`` frames on; int16 samples at 16 kHz."""
    import torch

    columns = mfcc(samples)
    windows = np.lib.stride_tricks.sliding_window_view(columns, COLUMNS, axis=0)[::COLUMNS_PER_FRAME][:count]
    with torch.inference_mode():
        return np.asarray(network.sound(torch.from_numpy(np.ascontiguousarray(windows)).float()[:, None]).numpy())


def window_count(frames: int, samples: int) -> int:
    """How many windows SyncNet compares in a clip of so many frames at 25 per second and samples at 16 kHz."""
    return max(0, min(frames, samples // SAMPLES_PER_FRAME) - STACK)


def score_syncnet(picture: Embeddings, sound: Embeddings) -> SyncScore:
    """The three numbers for embeddings ``[n 1024]`` of the same windows: ± 15 frames, zeros beyond the ends."""
    if len(picture) != len(sound) or not len(picture):
        raise ValueError(f"as many windows of picture as of sound are needed, got {len(picture)} and {len(sound)}")
    padded = np.pad(sound, ((MAX_OFFSET, MAX_OFFSET), (0, 0)))
    sums = offset_sums(picture, padded, _pairwise, first_sound=MAX_OFFSET)
    return score_curve(sums.curve(), windows=len(picture))


def _pairwise(a: Embeddings, b: Embeddings) -> Float64:
    """PyTorch's ``pairwise_distance``, which adds 1e-6 to every difference."""
    return np.asarray(np.linalg.norm(a.astype(np.float64) - b + 1e-6, axis=-1))
