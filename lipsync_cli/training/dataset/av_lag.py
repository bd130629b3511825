"""How late each clip's sound is: as listed, by the sync expert, or by the expert over the folder's clips together.

A clip of a second has too few windows for an offset of its own, but clips of one folder usually went through the same
hands, so their curves are averaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float64
from lipsync_cli.evaluation.measures.av_offset import MAX_OFFSET
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.dataset.segmenting import SegmentedSource
from lipsync_cli.training.dataset.sources import Source

UNKNOWN, TOO_LATE, OUT_OF_SYNC = "sync unknown", "lag too large", "out of sync"


@dataclass(frozen=True, slots=True)
class ClipLag:
    """``frames`` the sound is late, ``origin`` csv, clip or folder; ``rejected`` why the clip cannot be used.

    ``confidence`` is the median distance over all lags minus the one at this lag, None where nothing was compared.
    """

    frames: int = 0
    origin: str = ""
    confidence: float | None = None
    rejected: str = ""


def decide_lags(pairs: Iterable[tuple[Source, SegmentedSource]], limits: Limits) -> dict[str, ClipLag]:
    """The lag of every clip, by path."""
    usable = [(source, result) for source, result in pairs if result.stretches]
    folders = _folder_lags([result for _, result in usable], limits)
    return {result.path: _decide(source, result, folders, limits) for source, result in usable}


def _decide(source: Source, result: SegmentedSource, folders: Mapping[str, int], limits: Limits) -> ClipLag:
    own = own_lag(result, limits)
    listed = source.lag_frames
    if listed is not None and abs(listed) <= limits.listed_lag and (own is None or abs(own - listed) <= 1):
        frames, origin = listed, "csv"
    elif own is not None:
        frames, origin = own, "clip"
    elif _folder(result) in folders:
        frames, origin = folders[_folder(result)], "folder"
    else:
        return ClipLag(rejected=UNKNOWN)
    confidence = confidence_at(result, frames)
    if abs(frames) > limits.lag:
        return ClipLag(frames, origin, confidence, TOO_LATE)
    if confidence is not None and confidence < limits.confidence:
        return ClipLag(frames, origin, confidence, OUT_OF_SYNC)
    return ClipLag(frames, origin, confidence)


def own_lag(result: SegmentedSource, limits: Limits) -> int | None:
    """The lag of least distance by the expert, if there are enough windows and the minimum is clear."""
    return _best(_curve(result), limits) if result.windows >= limits.trusted_windows else None


def confidence_at(result: SegmentedSource, lag: int) -> float | None:
    """Median distance minus that at a lag; None where they were not compared."""
    curve = _curve(result)
    at = len(curve) // 2 + lag
    if not 0 <= at < len(curve) or not np.isfinite(curve[at]):
        return None
    return round(float(np.nanmedian(curve) - curve[at]), 3)


def _folder_lags(results: Iterable[SegmentedSource], limits: Limits) -> dict[str, int]:
    curves: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    weights: dict[str, list[int]] = defaultdict(list)
    for result in results:
        if result.curve is not None and result.windows:
            curves[_folder(result)].append(_curve(result))
            weights[_folder(result)].append(result.windows)
    lags = {}
    for folder, rows in curves.items():
        table, share = np.stack(rows), np.array(weights[folder], float)[:, None]
        compared = np.isfinite(table)
        total = (compared * share).sum(0)
        mean = np.where(total > 0, np.where(compared, table * share, 0).sum(0) / np.maximum(total, 1), np.nan)
        best = _best(mean, limits)
        if best is not None and share.sum() >= 4 * limits.trusted_windows:
            lags[folder] = best
    return lags


def _best(curve: Float64, limits: Limits) -> int | None:
    if not np.isfinite(curve).any():
        return None
    # Entry k compares frame i with sound i + k − 15: the minimum lies at the lag.
    best = int(np.nanargmin(curve))
    sure = float(np.nanmedian(curve) - curve[best]) >= limits.trusted_confidence
    return best - len(curve) // 2 if sure else None


def _curve(result: SegmentedSource) -> Float64:
    if result.curve is None:
        return np.full(2 * MAX_OFFSET + 1, np.nan)
    return np.array([np.nan if value is None else value for value in result.curve])


def _folder(result: SegmentedSource) -> str:
    return PurePosixPath(result.path).parent.as_posix()
