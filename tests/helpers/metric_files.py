"""Files of every network that metrics may need, each small and with known or random weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from lipsync_cli.evaluation.needs import NetworkOptions
from lipsync_cli.nn.sync.stable_syncnet import StableSyncConfig, StableSyncNet, TowerConfig
from lipsync_cli.nn.sync.stable_syncnet_file import save_stable_syncnet
from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2

TINY_STABLE = StableSyncConfig(
    16,
    TowerConfig((1, 80, 52), (4, 8, 8), (4, 4, (5, 3))),
    TowerConfig((48, 16, 32), (4, 8, 8), ((1, 2), 4, 4)),
    groups=2,
)


class Means(torch.nn.Module):
    """Mean colour as feature, by the interface of the public image networks."""

    def forward(
        self, x: torch.Tensor, resize_images: bool = False, return_lpips: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        return x.float().mean(dim=[2, 3])


class VideoMeans(torch.nn.Module):
    """Mean colour over a clip, by the interface of the public video network."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        return x.mean(dim=[2, 3, 4])


def write_scripts(folder: Path) -> None:
    """The TorchScript networks of LPIPS, FID and FVD, under their public names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Means()).save(str(folder / "vgg16.pt"))
        torch.jit.script(Means()).save(str(folder / "inception-2015-12-05.pt"))
        torch.jit.script(VideoMeans()).save(str(folder / "i3d_torchscript.pt"))


def write_networks(folder: Path) -> NetworkOptions:
    """All of them, and where they are."""
    torch.manual_seed(0)
    syncnet, stable = folder / "syncnet_v2.model", folder / "stable_syncnet.pt"
    torch.save(SyncNetV2().state_dict(), syncnet)
    save_stable_syncnet(stable, StableSyncNet(TINY_STABLE).state_dict(), TINY_STABLE, step=0)
    write_scripts(folder)
    return NetworkOptions({"syncnet": syncnet, "stable_sync": stable}, folder)
