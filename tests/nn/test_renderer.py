"""The renderer never reads what it is to write, and copies every pixel outside the region."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.nn.mouth_encoder import MouthEncoder
from lipsync_cli.nn.renderer import Renderer, identity_grid, region_keep


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    torch.manual_seed(0)
    return Renderer(latent=6).eval()


def points(*shape: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(2)
    return 0.5 + 0.1 * torch.randn(*shape, 29, 2, generator=g)


def references(renderer, k=3, size=64):
    g = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, k, 3, size, size, generator=g)
    return renderer.encode_references(pixels, torch.randn(2, k, 6, generator=g), points(2, k))


@torch.no_grad()
def test_the_frames_own_mouth_is_never_read(renderer):
    frames = torch.rand(2, 3, 64, 64)
    z = torch.randn(2, 6)
    features = references(renderer)
    other = torch.where(region_keep(64, frames) > 0.5, frames, torch.rand_like(frames))
    same = renderer(other, z, points(2), features).image
    torch.testing.assert_close(renderer(frames, z, points(2), features).image, same)


@torch.no_grad()
def test_pixels_outside_the_region_are_the_frames_own(renderer):
    frames = torch.rand(2, 3, 64, 64)
    image = renderer(frames, torch.randn(2, 6), points(2), references(renderer)).image
    outside = (region_keep(64, frames) > 0.5).expand_as(frames)
    assert torch.equal(image[outside], frames[outside])
    assert not torch.equal(image, frames)


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 96, 128])
def test_any_size_divisible_by_sixteen(renderer, size):
    frames, z = torch.rand(2, 3, size, size), torch.randn(2, 6)
    image = renderer(frames, z, points(2), references(renderer, size=size)).image
    assert image.shape == (2, 3, size, size)
    assert torch.isfinite(image).all()


@torch.no_grad()
def test_order_of_references_does_not_matter(renderer):
    frames, z = torch.rand(2, 3, 64, 64), torch.randn(2, 6)
    features = references(renderer)
    shuffled = type(features)(*(x[:, [2, 0, 1]] for x in features))
    torch.testing.assert_close(
        renderer(frames, z, points(2), features).image,
        renderer(frames, z, points(2), shuffled).image,
        atol=1e-5,
        rtol=1e-4,
    )


def test_identity_grid_samples_the_same_picture():
    picture = torch.rand(1, 3, 32, 32)
    same = torch.nn.functional.grid_sample(picture, identity_grid(32, picture), align_corners=False)
    torch.testing.assert_close(same, picture, atol=1e-5, rtol=0)


@torch.no_grad()
def test_encoder_reads_the_mouth_and_nothing_else():
    encoder = MouthEncoder(6).eval()
    crops = torch.rand(2, 3, 192, 192)
    before = encoder(crops)
    crops[:, :, :60] = 0
    torch.testing.assert_close(encoder(crops), before)
    crops[:, :, 90:110, 80:110] = 0
    assert (encoder(crops) - before).abs().max() > 1e-4


@torch.no_grad()
def test_aperture_is_the_mean_inner_lip_distance():
    encoder = MouthEncoder(6)
    lips = encoder.landmarks(z := torch.randn(4, 6))
    expected = (lips[:, [13, 14, 15]] - lips[:, [19, 18, 17]]).pow(2).sum(-1).sqrt().mean(-1)
    torch.testing.assert_close(encoder.aperture(z), expected)
