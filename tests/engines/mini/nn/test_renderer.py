"""The renderer never reads what it is to write, and copies every pixel outside the region."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.blocks import conv, partial_conv
from lipsync_cli.engines.mini.nn.landmark_flow import heat_maps, pixel_centres, point_weights
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.renderer import FrameFeatures, Renderer
from lipsync_cli.engines.mini.nn.warping import RegionWindow, identity_grid, region_keep


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
    shuffled = features.only([2, 0, 1])
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


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
def test_parts_of_a_convolution_add_up_to_it(kernel):
    layer = conv(7, 5, kernel)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 7, 9, 11)
    parts = partial_conv(layer, x[:, :3], 0) + partial_conv(layer, x[:, 3:], 3, bias=True)
    torch.testing.assert_close(parts, layer(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 112, 192])
def test_the_trunk_sees_no_edge_where_only_its_window_is_computed(renderer, size):
    """The same features from whole maps and plain concatenations, as the layers were trained."""
    g = torch.Generator().manual_seed(3)
    frames, z, p = torch.rand(2, 3, size, size, generator=g), torch.randn(2, 6, generator=g), points(2)
    pixels = torch.rand(2, 3, 3, size, size, generator=g)
    bank = renderer.encode_references(pixels, torch.randn(2, 3, 6, generator=g), points(2, 3))
    chosen = bank.select(p)
    seen = torch.cat([frames, region_keep(size, frames).expand(2, -1, -1, -1)], 1)
    f1, f2, f3 = renderer.pyramid(seen)
    inputs = torch.cat([pixels.flatten(0, 1) * 2 - 1, torch.ones(6, 1, size, size)], 1)
    levels = [level.unflatten(0, (2, 3)) for level in renderer.pyramid(inputs)]
    picked = [torch.stack([level[i][chosen.indices[i]] for i in range(2)]) for level in levels]
    half, quarter, eighth = (torch.einsum("bkchw,bk->bchw", level, chosen.weights) for level in picked)
    h = renderer.trunk3(renderer.join3(torch.cat([f3, eighth], 1)), z)
    h = F.interpolate(F.silu(h), scale_factor=2, mode="nearest")
    h = renderer.trunk2(renderer.join2(torch.cat([h, f2, quarter], 1)), z)
    h = F.interpolate(F.silu(h), scale_factor=2, mode="nearest")
    heats = heat_maps(p, size // 4)
    whole = renderer.trunk1(renderer.join1(torch.cat([h, f1, half, heats], 1)), z)
    window = RegionWindow.of(size)
    part = renderer._trunk(FrameFeatures(frames, f1, f2, f3), z, p, chosen, window)
    torch.testing.assert_close(part, window.coarse(whole), atol=1e-4, rtol=1e-4)


def test_weights_of_points_are_gaussians_of_distance():
    p, window = points(2), (slice(3, 9), slice(10, 20))
    distance = (pixel_centres(32, p)[None, None] - p[:, :, None, None]).norm(dim=-1)
    bells = torch.exp(-0.5 * (distance / torch.tensor([0.045] * 20 + [0.11] * 9)[:, None, None]) ** 2)
    expected = bells / (bells.sum(1, keepdim=True) + 0.15)
    torch.testing.assert_close(point_weights(p, 32), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(point_weights(p, 32, window), expected[:, :, *window], atol=1e-6, rtol=1e-4)
