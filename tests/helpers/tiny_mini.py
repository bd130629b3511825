"""A model folder like lip-forcing-mini's with random weights for small pictures, and a drawn speaker for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.geometry import transform_points, warp_to_crop
from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.engines.mini.generator import MiniNetworks
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.synthetic import LOWER_LIP, draw_head
from lipsync_cli.training.adapt.adaptation_set import AdaptationFrame, AdaptationSet

SIZES = {"crop_size": 64, "latent": 6, "width": 16, "layers": 2, "heads": 2, "window": 8}
CONFIG = MiniConfig.model_validate(SIZES)
FACE = MEAN_FACE[:, :2] - MEAN_FACE[27:48, :2].mean(axis=0)


def make_networks(seed: int = 0) -> MiniNetworks:
    """Random, but nothing of it zero, so that everything depends on everything."""
    torch.manual_seed(seed)
    networks = MiniNetworks(CONFIG).eval()
    for name, parameter in networks.named_parameters():
        if "modulation" in name or "velocity" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return networks


def make_folder(folder: Path, seed: int = 0, **generator: float) -> Path:
    """A model called tiny, to be given to ``--model``; ``generator`` adds to that table of its card."""
    folder.mkdir()
    weights = folder / "w.safetensors"
    save_file({key: value.contiguous() for key, value in make_networks(seed).state_dict().items()}, weights)
    data = weights.read_bytes()
    table = "\n".join(f"{name} = {value}" for name, value in {**SIZES, **generator}.items())
    (folder / "model.toml").write_text(
        f'name = "tiny"\nversion = 1\nkind = "lip-forcing-mini"\n[generator]\n{table}\n[[weights]]\n'
        f'role = "networks"\nfile = "w.safetensors"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        f'bytes = {len(data)}\nlicence = "none"\n'
    )
    return folder


def make_adaptation_set(frames: int = 60, size: int = 64, shots: int = 1) -> AdaptationSet:
    """The drawn head speaking at 25 frames per second, in ``shots`` shots of equal length."""
    made = []
    for i in range(frames):
        openness = 0.1 * np.sin(np.pi * 3 * i / 25) ** 2
        picture = draw_head(240, 180, openness=float(openness))
        height = 0.42 * 180
        points = FACE * height + (0.5 * 240, 0.45 * 180)
        points += openness * height * np.isin(np.arange(68), LOWER_LIP)[:, None] * (0.0, 1.0)
        matrix = LOWER_FACE.matrix(LOWER_FACE.anchors(points), size)
        made.append(
            AdaptationFrame(
                warp_to_crop(picture, matrix, size), transform_points(matrix, points), i / 25, i * shots // frames
            )
        )
    return AdaptationSet.of(made, frames)
