"""How late each clip's sound is: as listed, as the sync expert hears it, or as it hears the folder's clips together.

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
from lipsync_cli.training.dataset.segmenting import Cut
from lipsync_cli.training.dataset.sources import Source

UNKNOWN, TOO_LATE, OUT_OF_SYNC = "sync unknown", "lag too large", "out of sync"


@dataclass(frozen=True, slots=True)
class Lag:
    """``frames`` the sound is late, ``origin`` csv, clip or folder; ``rejected`` why the clip cannot be used.

    ``confidence`` is the median distance over all lags minus the one at this lag, None where nothing was compared.
    """

    frames: int = 0
    origin: str = ""
    confidence: float | None = None
    rejected: str = ""


def decide_lags(pairs: Iterable[tuple[Source, Cut]], limits: Limits) -> dict[str, Lag]:
    """The lag of every clip, by path."""
    known = [(source, cut) for source, cut in pairs if cut.stretches]
    folders = _folder_lags([cut for _, cut in known], limits)
    return {cut.path: _decide(source, cut, folders, limits) for source, cut in known}


def _decide(source: Source, cut: Cut, folders: Mapping[str, int], limits: Limits) -> Lag:
    own = own_lag(cut, limits)
    listed = source.lag_frames
    if listed is not None and abs(listed) <= limits.listed_lag and (own is None or abs(own - listed) <= 1):
        frames, origin = listed, "csv"
    elif own is not None:
        frames, origin = own, "clip"
    elif _folder(cut) in folders:
        frames, origin = folders[_folder(cut)], "folder"
    else:
        return Lag(rejected=UNKNOWN)
    confidence = confidence_at(cut, frames)
    if abs(frames) > limits.lag:
        return Lag(frames, origin, confidence, TOO_LATE)
    if confidence is not None and confidence < limits.confidence:
        return Lag(frames, origin, confidence, OUT_OF_SYNC)
    return Lag(frames, origin, confidence)


def own_lag(cut: Cut, limits: Limits) -> int | None:
    """The lag at which the expert likes a clip best, if it is to be trusted about it."""
    return _best(_curve(cut), limits) if cut.windows >= limits.trusted_windows else None


def confidence_at(cut: Cut, lag: int) -> float | None:
    """Median distance minus that at a lag; None where they were not compared."""
    curve = _curve(cut)
    at = len(curve) // 2 + lag
    if not 0 <= at < len(curve) or not np.isfinite(curve[at]):
        return None
    return round(float(np.nanmedian(curve) - curve[at]), 3)


def _folder_lags(cuts: Iterable[Cut], limits: Limits) -> dict[str, int]:
    curves: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    weights: dict[str, list[int]] = defaultdict(list)
    for cut in cuts:
        if cut.curve is not None and cut.windows:
            curves[_folder(cut)].append(_curve(cut))
            weights[_folder(cut)].append(cut.windows)
    lags = {}
    for folder, rows in curves.items():
        table, share = np.stack(rows), np.array(weights[folder], float)[:, None]
        seen = np.isfinite(table)
        heard = (seen * share).sum(0)
        mean = np.where(heard > 0, np.where(seen, table * share, 0).sum(0) / np.maximum(heard, 1), np.nan)
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


def _curve(cut: Cut) -> Float64:
    if cut.curve is None:
        return np.full(2 * MAX_OFFSET + 1, np.nan)
    return np.array([np.nan if value is None else value for value in cut.curve])


def _folder(cut: Cut) -> str:
    return PurePosixPath(cut.path).parent.as_posix()
