"""The networks that score clips, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.evaluation.measures import perceptual
from lipsync_cli.evaluation.measures.stable_sync import load_judge
from lipsync_cli.evaluation.measures.sync_mini import load_expert
from lipsync_cli.evaluation.measures.syncnet import load_syncnet

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.stable_syncnet import StableSyncNet
    from lipsync_cli.nn.sync.sync_mini import SyncMini
    from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2


@dataclass(frozen=True, slots=True)
class MetricNetworks:
    """The networks that score: the embedded expert always, the others for whoever has their weights.

    ``weights`` is the folder of the last three, ``stable_sync_file`` where that network came from.
    """

    expert: SyncMini
    syncnet: SyncNetV2 | None = None
    lpips: Any = None
    inception: Any = None
    i3d: Any = None
    weights: Path | None = None
    stable_sync: StableSyncNet | None = None
    stable_sync_file: Path | None = None


def load_judges(
    *, syncnet: Path | None = None, stable_sync: Path | None = None, weights: Path | None = None
) -> MetricNetworks:
    """Load them; ModelError for a file that was named and is not what it should be."""
    found = {metric: perceptual.find_weights(metric, weights) for metric in perceptual.FILES}
    scripts = {metric: None if path is None else perceptual.load_script(path) for metric, path in found.items()}
    return MetricNetworks(
        load_expert(),
        None if syncnet is None else load_syncnet(syncnet),
        scripts["lpips"],
        scripts["fid"],
        scripts["fvd"],
        weights,
        None if stable_sync is None else load_judge(stable_sync),
        stable_sync,
    )
