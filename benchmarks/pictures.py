"""How well renderers draw held-out faces, clean and degraded.

``python -m benchmarks.pictures PREPARED [SPLIT] --model NAME|DIR --model …`` renders the same frames with each model
from six references of the same clip, mouth states encoded from the frames themselves: as they are; turned and
stretched; blurred, resampled and compressed; with something in front of a reference or of a cheek. Under the
compositor's mask: mean absolute error and that of gradients, in thousandths, and local contrast (Laplacian) against
the real picture's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.engines.mini.generator import MiniNetworks, load_mini
from lipsync_cli.hub import load_card
from lipsync_cli.training.common.image_losses import gradient_l1, weighted_l1
from lipsync_cli.training.dataset.image_augment import ImageAugmentRecipe
from lipsync_cli.training.dataset.loader import ClipData, RenderBatch, load_clips, render_batches

KINDS: dict[str, ImageAugmentRecipe | None] = {
    "clean": None,
    "shaped": ImageAugmentRecipe(shaped=1, degraded=0, covered=0),
    "degraded": ImageAugmentRecipe(shaped=0, degraded=1, covered=0),
    "covered": ImageAugmentRecipe(shaped=0, degraded=0, covered=1),
}
REFERENCES = 6


def render(networks: MiniNetworks, config: MiniConfig, batch: RenderBatch) -> Tensor:
    """The targets ``[n 3 s s]`` of a batch of one clip as the networks render them, through the mask."""
    encoder, renderer = networks.encoder, networks.renderer
    targets, pixels = batch.targets[0], batch.references[0]
    z, z_references = encoder(targets), encoder(pixels)
    references = renderer.encode_references(
        pixels[None], z_references[None], encoder.landmarks(z_references)[None], network_size=config.input_size
    )
    image = renderer(targets, z, encoder.landmarks(z), references.repeated(len(targets))).image
    return torch.lerp(targets, image.clamp(0, 1), batch.masks[0])


def contrast(image: Tensor, mask: Tensor) -> Tensor:
    """Root mean square of the Laplacian of luma under the mask, per picture."""
    kernel = image.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    fine = F.conv2d(image.mean(1, keepdim=True), kernel, padding=1)
    return ((fine.square() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)).sqrt()


def figures(rendered: Tensor, batch: RenderBatch) -> list[float]:
    """Error, error of gradients, share of the real contrast."""
    targets, mask = batch.targets[0], (batch.masks[0] > 0.5).float()
    share = (contrast(rendered, mask) / contrast(targets, mask).clamp_min(1e-6)).mean()
    return [
        1000 * float(weighted_l1(rendered, targets, mask)),
        1000 * float(gradient_l1(rendered, targets, mask)),
        float(share),
    ]


def compare(models: dict[str, tuple[MiniNetworks, MiniConfig]], clips: list[ClipData], batches: int) -> None:
    """A row for each kind of picture and model, and the paired difference of errors to the first model."""
    for kind, augment in KINDS.items():
        rows: dict[str, list[list[float]]] = {name: [] for name in models}
        for seed in range(batches):
            size = next(iter(models.values()))[1].crop_size
            batch = next(
                render_batches(
                    clips, size=size, sequences=1, targets=4, references=REFERENCES, seed=seed, augment=augment
                )
            )
            for name, (networks, config) in models.items():
                rows[name].append(figures(render(networks, config, batch), batch))
        first = np.array(next(iter(rows.values())))
        for name, row in rows.items():
            table = np.array(row)
            gap = table[:, 0] - first[:, 0]
            error, edges, share = table.mean(0)
            sure = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5
            sys.stdout.write(
                f"{kind:9} {name:28} error {error:6.2f} ({gap.mean():+.2f} ± {sure:.2f}), "
                f"gradients {edges:6.2f}, contrast {share:.2f}\n"
            )


@torch.no_grad()
def main() -> None:
    """All kinds of pictures, for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("split", nargs="?", default="test")
    parser.add_argument(
        "--model", action="append", help="an installed model, or a folder like it; several are compared"
    )
    parser.add_argument("--batches", type=int, default=60, help="of four pictures of one clip each")
    given = parser.parse_args()
    loaded = {}
    for name in given.model or ["lip-forcing-mini"]:
        networks, config = load_mini(load_card(name))
        loaded[name] = networks.eval(), config
    compare(loaded, load_clips(given.prepared, given.split), given.batches)


if __name__ == "__main__":
    main()
