"""LatentSync's objectives: each term by what it must be, and what each stage trains, counted on the real UNet."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lipsync_cli.nn.sync.stable_syncnet import StableSyncConfig, StableSyncNet, TowerConfig
from lipsync_cli.training.latentsync.losses import (
    STAGES,
    LossWeights,
    add_noise,
    clean_latent,
    lower_lpips,
    mark_trained,
    mixed_noise,
    recon_loss,
    sync_loss,
)
from lipsync_cli.training.latentsync.stage import alpha_bars

SYNC = StableSyncConfig(
    2,
    TowerConfig((1, 80, 8), (4, 8), (8, (10, 1))),
    TowerConfig((6, 8, 16), (4, 8), ((2, 4), 4)),
    groups=2,
)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_mixed_noise_is_unit_noise_that_frames_share(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(1, 4, 1, 100, 100, generator=generator)
    independent = torch.randn(1, 4, 3, 100, 100, generator=generator)
    noise = mixed_noise(shared, independent, alpha=alpha)
    rows = noise.permute(2, 0, 1, 3, 4).reshape(3, -1)
    share = alpha**2 / (1 + alpha**2)
    torch.testing.assert_close(
        torch.cov(rows), share * torch.ones(3, 3) + (1 - share) * torch.eye(3), atol=0.02, rtol=0
    )
    assert rows.mean().abs() < 0.02


def test_mixed_noise_by_default_is_shared_by_half() -> None:
    ones, zeros = torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 4, 1, 1)
    assert torch.equal(mixed_noise(ones, zeros) ** 2, torch.full((1, 1, 4, 1, 1), 0.5**0.5) ** 2)
    assert torch.equal(mixed_noise(0 * ones, zeros + 1), torch.full((1, 1, 4, 1, 1), 0.5**0.5))


@settings(max_examples=20)
@given(st.lists(st.floats(0.005, 0.9999), min_size=1, max_size=3))
def test_clean_latent_of_the_true_noise_is_the_clean_latent(alpha_bars: list[float]) -> None:
    torch.manual_seed(0)
    shape = (len(alpha_bars), 4, 3, 2, 2)
    clean, noise, kept = torch.randn(shape), torch.randn(shape), torch.tensor(alpha_bars)
    torch.testing.assert_close(clean_latent(add_noise(clean, noise, kept), noise, kept), clean, atol=1e-4, rtol=1e-3)


def test_add_noise_and_clean_latent_are_those_of_diffusers() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
    )
    torch.manual_seed(0)
    clean, noise, guess = (torch.randn(2, 4, 3, 4, 4) for _ in range(3))
    t = torch.tensor([17, 903])
    torch.testing.assert_close(alpha_bars(), scheduler.alphas_cumprod)
    kept = alpha_bars()[t]
    noisy = add_noise(clean, noise, kept)
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, t))
    scheduler.set_timesteps(50)
    theirs = [scheduler.step(guess[i], t[i], noisy[i]).pred_original_sample for i in range(2)]
    torch.testing.assert_close(clean_latent(noisy, guess, kept), torch.stack(theirs), rtol=1e-4, atol=1e-4)


def test_sync_loss_is_the_cross_entropy_of_matching() -> None:
    torch.manual_seed(0)
    network = StableSyncNet(SYNC).eval()
    frames, mel = torch.randn(3, 2, 3, 16, 16, requires_grad=True), torch.randn(3, 1, 80, 8)
    loss = sync_loss(network, frames, mel)
    cosine = network(frames[..., 8:, :].reshape(3, 6, 8, 16), mel)
    torch.testing.assert_close(loss, F.binary_cross_entropy(cosine.clamp(0, 1), torch.ones(3)))
    (gradient,) = torch.autograd.grad(loss, frames)
    assert gradient[..., :8, :].abs().max() == 0 < gradient[..., 8:, :].abs().max()
    # Crops of 512 are resized to what the network looks at.
    large = F.interpolate(frames.flatten(0, 1), (32, 32), mode="nearest").unflatten(0, (3, 2))
    assert sync_loss(network, large, mel) > 0


class Corners(nn.Module):
    """Stands in for the LPIPS network: two pixels of each picture, as they are."""

    def forward(self, x: torch.Tensor, resize_images: bool, return_lpips: bool) -> torch.Tensor:
        assert return_lpips and not resize_images
        return torch.stack([x[:, 0, 0, 0], x[:, 1, -1, -1]], 1)


def test_lower_lpips_is_of_the_lower_half_of_every_frame() -> None:
    true, made = torch.zeros(2, 3, 3, 8, 8), torch.zeros(2, 3, 3, 8, 8)
    made[..., :4, :] = 1
    assert lower_lpips(Corners(), made, true) == 0
    # One in [−1, 1] is half of 0 … 255.
    made[0, 1, 0, 4, 0] = 1
    made[1, 2, 1, 7, 7] = -1
    assert float(lower_lpips(Corners(), made, true)) == pytest.approx(2 * 127.5**2 / 6)


def test_recon_loss_is_in_full_precision() -> None:
    a, b = torch.full((1, 1, 1, 1, 1), 300.0).half(), torch.zeros(1, 1, 1, 1, 1).half()
    assert recon_loss(a, b) == 90_000


def test_stages_have_the_weights_of_the_public_recipes() -> None:
    assert {name: stage.weights for name, stage in STAGES.items()} == {
        "stage1": LossWeights(1, 0, 0, 0),
        "stage2": LossWeights(1, 0.05, 0.1, 10),
        "stage2_efficient": LossWeights(1, 0.05, 0.1, 0),
    }
    assert [stage.weights.need_pixels for stage in STAGES.values()] == [False, True, True]


def public_name(name: str) -> str:
    """A parameter of diffusers' motion UNet in the grammar of LatentSync's files."""
    if "motion_modules." not in name:
        return name
    head, tail = name.split(".transformer_blocks.") if ".transformer_blocks." in name else (name, "")
    parts = head.split(".")
    at = parts.index("motion_modules") + 2
    head = ".".join([*parts[:at], "temporal_transformer", *parts[at:]])
    for ours, theirs in (
        (".attn1.", ".attention_blocks.0."), (".attn2.", ".attention_blocks.1."), (".norm1.", ".norms.0."),
        (".norm2.", ".norms.1."), (".norm3.", ".ff_norm."),
    ):  # fmt: skip
        tail = tail.replace(ours, theirs)
    return f"{head}.transformer_blocks.{tail}" if tail else head


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Numbers in every parameter of LatentSync 1.5's UNet, by its public name."""
    from diffusers import UNetMotionModel

    with torch.device("meta"):
        network = UNetMotionModel(
            sample_size=64, in_channels=13, out_channels=4, cross_attention_dim=384, num_attention_heads=8,
            use_motion_mid_block=False, motion_max_seq_length=24, motion_num_attention_heads=8,
        )  # fmt: skip
    return {public_name(name): parameter.numel() for name, parameter in network.named_parameters()}


def count(sizes: dict[str, int], stage: str, *, where: str = "") -> int:
    return sum(size for name, size in sizes.items() if STAGES[stage].learns(name) and where in name)


def test_stages_train_what_the_public_recipes_train(sizes: dict[str, int]) -> None:
    assert sum(sizes.values()) == 1_267_099_844
    plain = {name: size for name, size in sizes.items() if "motion_modules." not in name}
    assert count(plain, "stage1") == 849_962_244
    assert count(sizes, "stage2", where="motion_modules.") == 417_137_600
    assert count(plain, "stage2") == 257_654_720
    assert count(sizes, "stage2") == 674_792_320
    decoder = {name: size for name, size in sizes.items() if name in plain or name.startswith("up_blocks.")}
    assert count(decoder, "stage2_efficient", where="motion_modules.") == 250_282_560
    assert count(plain, "stage2_efficient") == 34_377_920
    assert count(decoder, "stage2_efficient") == 284_660_480


def test_mark_trained_freezes_the_others() -> None:
    network = nn.ModuleDict({"attentions": nn.Linear(2, 3), "resnets": nn.Linear(2, 2)})
    trained = mark_trained(network, STAGES["stage2"])
    assert [parameter.numel() for parameter in trained] == [6, 3]
    assert not network["resnets"].weight.requires_grad
    assert len(mark_trained(network, STAGES["stage1"])) == 4
    with pytest.raises(ValueError, match="motion_modules"):
        mark_trained(nn.Linear(1, 1), STAGES["stage2"])


def test_sync_loss_of_a_certain_network_is_zero() -> None:
    class Sure(nn.Module):
        config = SYNC

        def forward(self, frames: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
            return mel.flatten()

    for cosine, loss in ((1.0, 0.0), (0.5, math.log(2)), (0.0, -math.log(1e-6))):
        assert float(sync_loss(Sure(), torch.zeros(1, 2, 3, 16, 16), torch.tensor([cosine]))) == pytest.approx(loss)
