"""Lips of a flow on held-out clips: ``python -m benchmarks.lips PREPARED [SPLIT] [--model NAME|DIR]``.

PREPARED comes from ``lipsync train prepare``. For every clip of the split mouth states are generated from its audio
alone, with references from its first second, and compared with the dlib openings of the real lips: correlation of the
aperture, its spread against that of the encoder's states of the real lips, and the correlation of those, which is the
bound.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from lipsync_cli.core.landmarks68 import lip_gap
from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.engines.mini.generator import MiniNetworks, load_mini
from lipsync_cli.hub import load_card
from lipsync_cli.training.dataset.loader import choose_references, load_clips
from lipsync_cli.training.mini.causal import rollout_clip
from lipsync_cli.training.mini.latents import encode_clips


def shipped_networks(model: str = "lip-forcing-mini") -> tuple[MiniNetworks, MiniConfig]:
    """The weights in models/lip-forcing-mini, or in another such folder, and the configuration in its card."""
    networks, config = load_mini(load_card(model))
    return networks.eval(), config


@torch.no_grad()
def main() -> None:
    """The model's schedule and its first step alone, for all clips and for those of at least two seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("split", nargs="?", default="test")
    parser.add_argument("--model", default="lip-forcing-mini", help="an installed model, or a folder like it")
    given = parser.parse_args()
    split = given.split
    networks, config = shipped_networks(given.model)
    clips = encode_clips(networks.encoder, load_clips(given.prepared, split))
    rng = np.random.default_rng(0)
    chosen = [clip.z[torch.from_numpy(choose_references(clip.landmarks[:25], 3, rng))] for clip in clips]
    for steps in sorted({1, len(config.schedule)}, reverse=True):
        schedule, temperature = config.schedule[:steps], config.temperature[:steps]
        rows = []
        for clip, references in zip(clips, chosen, strict=True):
            spoken = networks.encoder.aperture(
                rollout_clip(networks.flow, clip, references, schedule, temperature=temperature)
            ).numpy()
            read, real = networks.encoder.aperture(clip.z).numpy(), lip_gap(clip.landmarks)
            if real.std() > 0 and spoken.std() > 0:
                figures = (np.corrcoef(real, spoken)[0, 1], spoken.std() / read.std(), np.corrcoef(real, read)[0, 1])
                rows.append((len(real), *figures))
        table = np.array(rows)
        for name, part in (("all", table), ("2 s and longer", table[table[:, 0] >= 50])):
            corr, spread, bound = part[:, 1:].mean(0)
            sys.stdout.write(
                f"{split}, {name:15} {len(part):4d} clips, schedule {schedule}: "
                f"aperture correlation {corr:.3f}, spread {spread:.2f}, encoder's own correlation {bound:.3f}\n"
            )


if __name__ == "__main__":
    main()
