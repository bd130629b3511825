"""Who composes: what the setting means on which device, and where the generator leaves its crops."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.compositing.backend import choose_backend, composites_on_device
from lipsync_cli.compositing.numpy_backend import NumpyBackend
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.core.errors import UsageError


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


def test_backend_choice_is_the_devices_exactly_where_that_is_wanted():
    backend = choose_backend("device", "cpu")
    assert isinstance(backend, TorchBackend) and backend.device == torch.device("cpu")
    assert isinstance(choose_backend("auto", "cpu"), NumpyBackend)
