"""Why a metric was not measured, in words: which file or option would have been needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lipsync_cli.evaluation.measures import perceptual, stable_sync
from lipsync_cli.evaluation.metrics import (
    METRICS,
    SOURCE_METRICS,
    STABLE_SYNC_METRICS,
    SYNCNET_METRICS,
    TRUTH_METRICS,
)

if TYPE_CHECKING:
    from lipsync_cli.evaluation.clip import Comparison
    from lipsync_cli.evaluation.networks import MetricNetworks

WHOLE = "over all clips only; see the summary of a protocol"


def why_not_measured(values: Mapping[str, float | None], judges: MetricNetworks, what: Comparison) -> dict[str, str]:
    """Why metrics without a value have none, by name."""
    reasons = dict.fromkeys(METRICS, "too few frames to measure it")
    if what.truth is None:
        reasons |= dict.fromkeys(TRUTH_METRICS, "needs the truth; give it with --against")
    elif judges.lpips is None:
        reasons["lpips"] = perceptual.why_not("lpips", judges.weights)
    if what.source is None:
        reasons |= dict.fromkeys(SOURCE_METRICS, "needs the clip before dubbing; give it with --source")
    if what.original is None:
        reasons["leak"] = "needs the original sound; give it with --original"
    if judges.syncnet is None:
        reasons |= dict.fromkeys(SYNCNET_METRICS, "needs syncnet_v2.model; give it with --syncnet")
    if judges.stable_sync is None:
        reasons |= dict.fromkeys(STABLE_SYNC_METRICS, f"needs {stable_sync.FILE}; give it with --stable-sync")
    for name in ("fid", "fvd"):
        missing = perceptual.find_weights(name, judges.weights) is None
        reasons[name] = perceptual.why_not(name, judges.weights) if missing else WHOLE
    return {name: reason for name, reason in reasons.items() if values.get(name) is None}
