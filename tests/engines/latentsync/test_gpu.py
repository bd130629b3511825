"""On a GPU: the pictures of the CPU within half precision, and drawings that are final when they are handed out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.engines.latentsync.generator import LatentSync, LatentSyncNetworks
from tests.engines.latentsync.test_generator import at_rate, make_crops, run
from tests.helpers.narrow_latentsync import CONFIG, make_networks

pytestmark = pytest.mark.gpu


def on_gpu(dtype: torch.dtype, *, release: bool = False) -> LatentSync:
    n = make_networks()
    networks = LatentSyncNetworks(n.unet.to("cuda", dtype), n.vae.to("cuda", dtype), n.speech.to("cuda"))
    return LatentSync(networks, CONFIG, release=release)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-3), (torch.bfloat16, 0.05)])
def test_pictures_are_those_of_the_cpu(dtype, bound):
    crops, times = make_crops(9), at_rate(9)
    expected = np.stack(run(LatentSync(make_networks(), CONFIG), crops, times))
    assert np.abs(np.stack(run(on_gpu(dtype), crops, times)) - expected).mean() < bound


def test_drawings_left_there_are_final_when_they_are_handed_out():
    crops, times = make_crops(5), at_rate(5)
    generator = on_gpu(torch.float32)
    expected = np.stack(run(generator, crops, times))
    generator.leave_on_device = True
    left = run(generator, crops, times)
    with torch.cuda.stream(torch.cuda.Stream()):
        pictures = np.stack([picture.cpu().numpy() for picture in left])
    np.testing.assert_allclose(pictures, expected, atol=1e-5)


def test_the_releases_ways_work_there_too():
    crops, times = make_crops(5), at_rate(5)
    assert all(picture is not None for picture in run(on_gpu(torch.bfloat16, release=True), crops, times))
