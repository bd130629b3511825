"""Who composes: what the setting means on which device, and where the generator leaves its crops."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.compositing.backend import choose_backend, composites_on_device
from lipsync_cli.compositing.numpy_backend import NumpyBackend
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.generator import LipForcingMini
from lipsync_cli.engines.passthrough import Passthrough
from lipsync_cli.engines.protocol import DrawsOnDevice
from tests.helpers.tiny_mini import CONFIG, make_networks


@pytest.mark.parametrize(
    ("compositor", "device", "there"),
    [
        ("auto", "cpu", False),
        ("auto", "mps", False),
        ("auto", "cuda", True),
        ("cpu", "cuda", False),
        ("device", "cpu", True),
        ("device", "cuda", True),
    ],
)
def test_compositor_setting_says_where(compositor, device, there):
    assert composites_on_device(compositor, device) is there


def test_compositor_setting_refuses_a_device_that_cannot():
    with pytest.raises(UsageError, match="mps") as caught:
        composites_on_device("device", "mps")
    assert "compositor=cpu" in str(caught.value.hint)


def test_backend_choice_leaves_generated_crops_where_they_are_wanted():
    generator = LipForcingMini(make_networks(), CONFIG)
    assert isinstance(generator, DrawsOnDevice) and not generator.leave_drawings
    backend = choose_backend("device", "cpu", generator)
    assert isinstance(backend, TorchBackend) and backend.device == torch.device("cpu")
    assert generator.leave_drawings
    assert isinstance(choose_backend("auto", "cpu", generator), NumpyBackend)
    assert not generator.leave_drawings
    assert isinstance(choose_backend("device", "cpu", Passthrough()), TorchBackend)
