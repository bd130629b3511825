"""The TorchScript networks that papers measure with, for whoever has the files.

``vgg16.pt`` (LPIPS) and ``inception-2015-12-05.pt`` (FID) are those of NVIDIA's StyleGAN metrics,
``i3d_torchscript.pt`` (FVD) that of StyleGAN-V. None of them may be shipped with this tool; without them the metric
is not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import UInt8


def load_script(path: Path) -> Any:
    """A TorchScript network for evaluation; ModelError when the file is none."""
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} is no TorchScript network.", hint="Get the file again, or leave --weights."
        ) from error


def planar(pictures: Sequence[UInt8]) -> Any:
    """Pictures ``[h w 3]`` of one size as a uint8 tensor ``[n 3 h w]``."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))
