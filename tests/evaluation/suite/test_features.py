"""LPIPS, FID and FVD with stand-in TorchScript networks whose features are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.core.errors import ModelError
from lipsync_cli.evaluation.measures import perceptual
from lipsync_cli.evaluation.measures.frechet import frechet_distance
from lipsync_cli.evaluation.suite.features import distances

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


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


def picture(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3)).copy()


def test_networks_are_found_by_name_and_called_as_they_want(tmp_path: Path) -> None:
    for name, network in (
        ("vgg16.pt", Means()),
        ("inception-2015-12-05.pt", Means()),
        ("i3d_torchscript.pt", VideoMeans()),
    ):
        torch.jit.script(network).save(str(tmp_path / name))
    found = {metric: perceptual.find_weights(metric, tmp_path) for metric in perceptual.FILES}
    assert all(found.values())
    networks = {metric: perceptual.load_script(path) for metric, path in found.items() if path}
    assert perceptual.lpips(networks["lpips"], picture(10, 20, 30), picture(13, 20, 34)) == pytest.approx(25)
    features = perceptual.inception_features(networks["fid"], [picture(1, 2, 3), picture(4, 5, 6)])
    assert features.tolist() == [[1, 2, 3], [4, 5, 6]]
    video = perceptual.video_features(networks["fvd"], np.stack([picture(0, 255, 0)] * 16))
    assert video == pytest.approx([-1, 1, -1], abs=1e-5)


def test_missing_networks_have_a_reason_and_damaged_ones_an_error(tmp_path: Path) -> None:
    assert perceptual.find_weights("fid", None) is None
    assert "--weights" in perceptual.why_not("fid", None)
    assert "there is no" in perceptual.why_not("fvd", tmp_path)
    (tmp_path / "vgg16.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="TorchScript"):
        perceptual.load_script(tmp_path / "vgg16.pt")


def test_distances_are_taken_over_all_clips_of_a_protocol(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made, real = rng.normal(1, 1, (3, 20, 4)), rng.normal(0, 1, (3, 20, 4))
    (tmp_path / "self").mkdir()
    for number in range(3):
        np.savez(tmp_path / "self" / f"{number}.npz", fid_made=made[number], fid_real=real[number])
    clips = [("self", "0"), ("self", "1"), ("self", "2"), ("cross", "0")]
    expected = frechet_distance(made.reshape(-1, 4), real.reshape(-1, 4))
    assert distances(clips, tmp_path) == {"self": {"fid": pytest.approx(expected)}}
