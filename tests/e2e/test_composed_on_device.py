"""The whole command with composition in torch: the pictures of the other way, to a code value."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.core.types import Patch
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames
from tests.e2e.conftest import SPEECH, portrait_variant
from tests.helpers.tiny_mini import make_folder

QUICK = ("reference_frames=5", "detect_size=320", "landmark_samples=1")


def frames_of(path: Path) -> list[tuple[np.ndarray, ...]]:
    with open_frames(probe(path), with_rgb=False) as frames:
        return [frame.planes for frame in frames]


def dub(source: Path, output: Path, device: str, *settings: str) -> dict:
    options = ["--codec", "ffv1", "--json", "-q", "--length", "video", "--preset", "realtime", "--device", device]
    chosen = [word for setting in (*QUICK, *settings) for word in ("--set", setting)]
    done = CliRunner().invoke(app, ["dub", str(source), str(SPEECH), "-o", str(output), *options, *chosen])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, *settings: str, share: float = 0.01
) -> None:
    """Dub ten frames both ways; at most one code value apart, in less than ``share`` of what the dub changed."""
    source = portrait_variant(tmp_path / "in.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le", seconds=0.4)
    seen: list[str] = []
    blend = TorchBackend.blend

    def watched(self: TorchBackend, patch: Patch, *rest: object) -> object:
        assert isinstance(patch.drawing.rgb, torch.Tensor)
        seen.append(patch.drawing.rgb.device.type)
        return blend(self, patch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(TorchBackend, "blend", watched)
    dub(source, tmp_path / "cpu.mkv", device, "compositor=cpu", *settings)
    assert not seen
    report = dub(source, tmp_path / "device.mkv", device, "compositor=device", *settings)
    frames = report["frames_dubbed"]
    assert report["settings"]["compositor"] == "device" and seen == [device] * frames and frames >= 10
    before, expected, actual = (frames_of(path) for path in (source, tmp_path / "cpu.mkv", tmp_path / "device.mkv"))
    changed = different = 0
    for old, one, other in zip(before, expected, actual, strict=True):
        for planes in zip(old, one, other, strict=True):
            a, b, c = (plane.astype(int) for plane in planes)
            assert np.abs(b - c).max() <= 1
            changed += int((a != b).sum())
            different += int((b != c).sum())
    assert changed > 10_000 and different < share * changed


def test_the_picture_is_the_same_to_a_code_value(tmp_path, monkeypatch):
    model = make_folder(tmp_path / "model", sharpen=0.3)
    compare(tmp_path, monkeypatch, "cpu", f"model={model}")


@pytest.mark.gpu
def test_on_a_gpu(tmp_path, monkeypatch):
    """Both ways compose what one and the same GPU draws; its convolutions may sharpen with ten bits of mantissa."""
    compare(tmp_path, monkeypatch, "cuda", "dtype=float32", share=0.25)
