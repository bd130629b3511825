"""LPIPS: how unlike two pictures look to a network that learned from people's judgement (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lipsync_cli.core.types import UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.measures.torchscript import load_script, planar
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import TRUTH, NetworkFile

VGG = NetworkFile("lpips", "vgg16.pt", load_script)


def lpips(network: Any, a: UInt8, b: UInt8) -> float:
    """Squared distance of the network's LPIPS features of two pictures ``[h w 3]``."""
    import torch

    with torch.inference_mode():
        features = network(planar([a, b]).float(), resize_images=False, return_lpips=True)
    return float((features[0] - features[1]).square().sum())


class Lpips(Measure):
    """Mean LPIPS of lower faces."""

    metrics = (
        Metric(
            name="lpips",
            title="LPIPS",
            better="lower",
            section="picture",
            needs=(TRUTH, VGG),
            shown="table",
            meaning="lower-face crop against the truth, VGG",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._network = clip.networks.get(VGG)
        self._distances: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        if frames.at_truth is not None:
            self._distances.append(lpips(self._network, *frames.at_truth))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"lpips": mean_or_none(self._distances)}
