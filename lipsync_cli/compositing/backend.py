"""Where pictures are composed: on the CPU with OpenCV, or with torch on the device that draws."""

from __future__ import annotations

from lipsync_cli.compositing.numpy_backend import NumpyBackend
from lipsync_cli.compositing.protocol import CompositingBackend
from lipsync_cli.core.errors import UsageError

DEVICES = ("cpu", "cuda")


def composites_on_device(compositor: str, device: str) -> bool:
    """Whether the setting ``compositor`` (auto, cpu, device) means torch on the resolved ``device``.

    ``auto`` does on CUDA. Raises UsageError for a device that was asked for and cannot.
    """
    if compositor == "device" and device not in DEVICES:
        raise UsageError(
            f"Pictures cannot be composed on {device}, only on {' and '.join(DEVICES)}.",
            hint="Use --set compositor=cpu: it works beside a model on any device.",
        )
    return compositor == "device" or (compositor == "auto" and device == "cuda")


def choose_backend(compositor: str, device: str) -> CompositingBackend:
    """The arithmetic of composition for the setting ``compositor`` beside a model on the resolved ``device``."""
    if not composites_on_device(compositor, device):
        return NumpyBackend()
    import torch

    from lipsync_cli.compositing.torch_backend.backend import TorchBackend

    return TorchBackend(torch.device(device))
