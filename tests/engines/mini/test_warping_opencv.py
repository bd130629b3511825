"""OpenCV draws what torch draws, at every ratio between the crop's size and the networks'."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.engines.mini import warping_opencv
from lipsync_cli.engines.mini.nn.frame_edit import edit_frames, predict_edit
from lipsync_cli.engines.mini.nn.renderer import Renderer
from lipsync_cli.engines.mini.nn.warping import RegionWindow


def picture(size: int, seed: int) -> np.ndarray:
    """Smooth, with edges: what displacement by fractions of a pixel is visible in."""
    noise = np.random.default_rng(seed).random((size // 8, size // 8, 3), np.float32)
    return (cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
@pytest.mark.parametrize(("size", "network_size"), [(64, 64), (128, 64), (192, 64)])
@pytest.mark.parametrize("count", [1, 5])
def test_opencv_draws_what_torch_draws(size: int, network_size: int, count: int) -> None:
    torch.manual_seed(1)
    renderer = Renderer(latent=6).eval()
    torch.nn.init.normal_(renderer.head_out.weight, std=0.05)
    torch.nn.init.normal_(renderer.paint_out.weight, std=0.2)
    crops = [picture(size, seed) for seed in range(count)]
    frame = picture(size, 99)
    z = torch.randn(count + 1, 6)
    points = 0.5 + 0.1 * torch.randn(count + 1, 29, 2)
    pixels = torch.cat([tensor(crop) for crop in crops])
    bank = renderer.encode_references(pixels[None], z[None, 1:], points[None, 1:], network_size=network_size)
    expected = renderer(tensor(frame), z[:1], points[:1], bank).image
    shown = frame.astype(np.float32) / 255
    pictures = warping_opencv.pictures(pixels)
    crop = Crop(frame, Alignment(np.eye(2, 3), size), np.zeros((68, 2)))
    job = warping_opencv.RenderJob(crop, z[:1], points[:1], bank, pictures, points[:1], points[:1])
    fewer = job._replace(references=bank.only([0]))
    (_, _, drawn), window = warping_opencv.draw(renderer, [job, fewer, job], [shown[::-1], shown, shown])
    assert window == RegionWindow.of(network_size).enlarged(size // network_size)
    # Older versions of OpenCV round positions to 1/32 pixel.
    generated = window.fine(torch.from_numpy(generation_region(size).copy())).numpy()
    actual = np.where(generated[..., None], drawn, shown[window.rows, window.columns])
    np.testing.assert_allclose(actual, window.fine(expected)[0].permute(1, 2, 0).numpy(), atol=0.02)
    assert np.abs(drawn - frame[window.rows, window.columns] / 255).max() > 0.05


@torch.inference_mode()
@pytest.mark.parametrize(("size", "network_size"), [(64, 64), (128, 64)])
def test_opencv_edits_what_torch_edits(size: int, network_size: int) -> None:
    torch.manual_seed(1)
    frame = picture(size, 99)
    own = 0.55 + 0.08 * torch.randn(1, 29, 2)
    wanted = own + 0.03 * torch.randn(1, 29, 2)
    bank = (
        Renderer(latent=6)
        .eval()
        .encode_references(
            tensor(picture(size, 1))[None], torch.randn(1, 1, 6), wanted[None], network_size=network_size
        )
    )
    crop = Crop(frame, Alignment(np.eye(2, 3), size), np.zeros((68, 2)))
    job = warping_opencv.RenderJob(crop, torch.randn(1, 6), wanted, bank, (), wanted, own)
    window = RegionWindow.of(network_size).enlarged(size // network_size)
    shown, drawn = frame.astype(np.float32) / 255, picture(size, 5)[window.rows, window.columns] / np.float32(255)
    edited = edit_frames(
        predict_edit(own, wanted, network_size), tensor(frame), torch.from_numpy(drawn).permute(2, 0, 1)[None], window
    )
    region = generation_region(size)[window.rows, window.columns, None]
    expected = np.where(region, edited[0].permute(1, 2, 0).numpy(), shown[window.rows, window.columns])
    actual = warping_opencv.edit_frame(job, shown, drawn, window)
    np.testing.assert_allclose(actual, expected, atol=0.02)
    assert np.abs(actual - shown[window.rows, window.columns]).max() > 0.1


def test_crops_that_are_no_whole_multiple_are_refused() -> None:
    renderer = Renderer(latent=6)
    with pytest.raises(ValueError, match="whole fraction"):
        renderer.encode_references(
            torch.rand(1, 1, 3, 96, 96), torch.randn(1, 1, 6), torch.rand(1, 1, 29, 2), network_size=64
        )
