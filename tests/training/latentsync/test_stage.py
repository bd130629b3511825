"""LatentSync's loop around tiny networks: the UNet's input, each term, which parameters learn, resumption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.sync.stable_syncnet import StableSyncConfig, StableSyncNet, TowerConfig
from lipsync_cli.nn.video_mae import VideoMae, VideoMaeConfig
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.latentsync.losses import STAGES, LossWeights, clean_latent
from lipsync_cli.training.latentsync.stage import (
    LatentSyncBatch,
    LatentSyncRecipe,
    LossNetworks,
    alpha_bars,
    draw_windows,
    loss_terms,
    train_latentsync,
)
from lipsync_cli.training.stable_sync.stage import PROBABILITY_MARGIN

FRAMES, SIDE = 4, 32
SYNC = StableSyncConfig(
    FRAMES,
    TowerConfig((1, 80, 8), (4, 8), (8, (10, 1))),
    TowerConfig((12, 16, 32), (4, 8), ((4, 8), 4)),
    groups=2,
)
CLIP = VideoMaeConfig(width=12, depth=1, heads=2, hidden=16, patch=4, frames=FRAMES, size=8)
MASK = torch.ones(SIDE, SIDE)
MASK[16:] = 0


class Vae:
    """Means of 8 × 8 pixels, and squares of one colour: what it encodes is what it decoded."""

    def encode(self, frames: Tensor) -> Tensor:
        means = F.avg_pool2d(frames.flatten(0, 1), 8)
        return torch.cat([means, means[:, :1]], 1).unflatten(0, frames.shape[:2]).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3].transpose(1, 2).repeat_interleave(8, -1).repeat_interleave(8, -2)


class Unet(nn.Module):
    """The grammar of LatentSync's names, and nothing else of it."""

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.Conv3d(13, 8, 1)
        self.attentions = nn.ModuleDict({"attn2": nn.Linear(384, 8)})
        self.motion_modules = nn.ModuleList([nn.Conv3d(8, 4, (3, 1, 1), padding=(1, 0, 0))])

    def forward(self, latents: Tensor, t: Tensor, audio: Tensor) -> Tensor:
        b, f = latents.shape[0], latents.shape[2]
        heard = self.attentions["attn2"](audio.mean(1)).unflatten(0, (b, f)).transpose(1, 2)
        x = self.resnets(latents) + heard[..., None, None] + t.view(-1, 1, 1, 1, 1) / 1000
        out: Tensor = self.motion_modules[0](F.silu(x))
        return out


class Levels(nn.Module):
    """Stands in for the LPIPS network."""

    def forward(self, x: Tensor, resize_images: bool, return_lpips: bool) -> Tensor:
        return x.mean((2, 3)) / 255


def make(seed: int, size: int) -> LatentSyncBatch:
    generator = torch.Generator().manual_seed(seed)
    # Squares of one colour, which the VAE loses nothing of.
    small = torch.rand(2, size, FRAMES, 3, SIDE // 8, SIDE // 8, generator=generator) * 2 - 1
    frames, reference = small.repeat_interleave(8, -1).repeat_interleave(8, -2)
    audio = torch.randn(size, FRAMES, 50, 384, generator=generator)
    return LatentSyncBatch(frames, reference, audio, torch.randn(size, 1, 80, 8, generator=generator))


@pytest.fixture(scope="module")
def networks() -> LossNetworks:
    torch.manual_seed(0)
    return LossNetworks(
        Vae(), StableSyncNet(SYNC).eval().requires_grad_(False), Levels(), VideoMae(CLIP).eval().requires_grad_(False)
    )


def new_unet() -> Unet:
    torch.manual_seed(1)
    return Unet()


@given(st.integers(48, 90), st.integers(0, 200))
def test_draw_windows_gives_a_reference_that_does_not_overlap(frames: int, seed: int) -> None:
    start, reference = draw_windows(frames, np.random.default_rng(seed))
    assert 0 <= start <= frames - 16 and 0 <= reference <= frames - 16
    assert abs(start - reference) >= 16


def test_draw_windows_refuses_a_clip_too_short_for_a_reference() -> None:
    with pytest.raises(ValueError, match="48 frames"):
        draw_windows(47, np.random.default_rng(0))


def test_loss_terms_give_the_unet_noisy_mask_masked_and_reference(networks: LossNetworks) -> None:
    batch, seen = make(0, 2), []

    def unet(latents: Tensor, t: Tensor, audio: Tensor) -> Tensor:
        seen.append((latents, t, audio))
        return torch.zeros_like(latents[:, :4])

    terms = loss_terms(unet, networks, batch, MASK, Noise(5), LossWeights())
    ((latents, t, audio),) = seen
    noisy, mask, masked, reference = latents.split([4, 1, 4, 4], 1)
    encode = networks.vae.encode
    torch.testing.assert_close(masked, encode(batch.frames * MASK))
    torch.testing.assert_close(reference, encode(batch.reference))
    assert mask[..., :2, :].min() == 1 and mask[..., 2:, :].max() == 0 and mask.shape == (2, 1, FRAMES, 4, 4)
    assert masked[..., 2:, :].abs().max() == 0 < masked[..., :2, :].abs().max()
    assert torch.equal(audio, batch.audio.reshape(2 * FRAMES, 50, 384))
    assert t.shape == (2,) and t.dtype == torch.int64
    # What a guess of zero loses is the power of the noise, half of which the frames share.
    kept = alpha_bars()[t].view(2, 1, 1, 1, 1)
    noise = (noisy - kept.sqrt() * encode(batch.frames)) / (1 - kept).sqrt()
    torch.testing.assert_close(terms["recon"], noise.square().mean(), rtol=1e-3, atol=1e-4)
    assert set(terms) == {"recon"}


def test_loss_terms_of_a_perfect_prediction_are_those_of_the_sync_network(networks: LossNetworks) -> None:
    batch = make(1, 2)
    clean = networks.vae.encode(batch.frames)

    def unet(latents: Tensor, t: Tensor, audio: Tensor) -> Tensor:
        kept = alpha_bars()[t].view(-1, 1, 1, 1, 1)
        guess = (latents[:, :4] - kept.sqrt() * clean) / (1 - kept).sqrt()
        torch.testing.assert_close(clean_latent(latents[:, :4], guess, alpha_bars()[t]), clean, atol=1e-3, rtol=1e-3)
        return guess

    terms = loss_terms(unet, networks, batch, MASK, Noise(3), STAGES["stage2"].weights)
    assert set(terms) == {"recon", "sync", "lpips", "trepa"}
    assert terms["recon"] < 1e-6 and terms["lpips"] < 1e-6 and terms["trepa"] < 1e-6
    assert networks.sync is not None
    halves = batch.frames[..., 16:, :].reshape(2, 12, 16, 32)
    doubt = -networks.sync(halves, batch.mel).clamp(PROBABILITY_MARGIN, 1).log().mean()
    torch.testing.assert_close(terms["sync"], doubt, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage2_efficient"])
def test_train_latentsync_trains_the_parameters_of_each_stage(
    stage: str, networks: LossNetworks, tmp_path: Path
) -> None:
    class NothingToSee(Vae):
        def decode(self, latents: Tensor) -> Tensor:
            raise AssertionError("stage 1 decodes nothing")

    unet, before = new_unet(), new_unet().state_dict()
    shown = LossNetworks(NothingToSee()) if stage == "stage1" else networks
    recipe = LatentSyncRecipe(stage=stage, steps=2, batch=2, at_once=1, learning_rate=1e-2, log_every=1)
    assert train_latentsync(unet, shown, make, MASK, recipe, tmp_path) == 2
    changed = {key.split(".")[0] for key, value in unet.state_dict().items() if not torch.equal(value, before[key])}
    everything = {"resnets", "attentions", "motion_modules"}
    assert changed == (everything if stage == "stage1" else everything - {"resnets"})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    wanted = {name for name in ("recon", "sync", "lpips", "trepa") if getattr(STAGES[stage].weights, name)}
    assert set(rows[0]) == {"step", "s", "gradient", *wanted}


def test_train_latentsync_resumes_to_the_bit(networks: LossNetworks, tmp_path: Path) -> None:
    def run(folder: str, *ends: int) -> dict[str, Tensor]:
        for steps in ends:
            unet = new_unet()
            train_latentsync(
                unet, networks, make, MASK, LatentSyncRecipe(steps=steps, batch=2, at_once=2), tmp_path / folder
            )
        return unet.state_dict()

    whole, parts = run("whole", 4), run("parts", 2, 4)
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_train_latentsync_names_what_is_missing(networks: LossNetworks, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sync term of weight"):
        train_latentsync(new_unet(), LossNetworks(Vae()), make, MASK, LatentSyncRecipe(), tmp_path)
    with pytest.raises(ValueError, match="3 at once"):
        train_latentsync(new_unet(), networks, make, MASK, LatentSyncRecipe(batch=8, at_once=3), tmp_path)


def test_train_latentsync_lessens_the_loss_of_a_batch(networks: LossNetworks, tmp_path: Path) -> None:
    unet, weights = new_unet(), STAGES["stage2"].weights

    def total() -> float:
        terms = loss_terms(unet, networks, make(7, 4), MASK, Noise(7), weights)
        return sum(float(getattr(weights, name) * term.detach()) for name, term in terms.items())

    before = total()
    recipe = LatentSyncRecipe(steps=30, batch=4, at_once=4, learning_rate=3e-3)
    train_latentsync(unet, networks, lambda seed, size: make(7, size), MASK, recipe, tmp_path)
    assert total() < 0.9 * before
