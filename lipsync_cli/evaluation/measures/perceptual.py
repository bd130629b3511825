"""LPIPS, FID and FVD with the TorchScript networks that papers use, for whoever has the files.

``vgg16.pt`` (LPIPS) and ``inception-2015-12-05.pt`` (FID) are those of NVIDIA's StyleGAN metrics,
``i3d_torchscript.pt`` (FVD) that of StyleGAN-V. None of them may be shipped with this tool; without them the metric
is not measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import Float32, UInt8

FILES = {"lpips": "vgg16.pt", "fid": "inception-2015-12-05.pt", "fvd": "i3d_torchscript.pt"}
FVD_FRAMES, FVD_SIZE = 16, 224
INCEPTION_SIZE = 299


def find_weights(metric: str, folder: Path | None) -> Path | None:
    """The file a metric needs in ``folder``, or None."""
    path = None if folder is None else folder / FILES[metric]
    return path if path is not None and path.is_file() else None


def why_not(metric: str, folder: Path | None) -> str:
    """Why a metric is not measured, in words."""
    if folder is None:
        return f"needs {FILES[metric]}; give its folder with --weights"
    return f"there is no {FILES[metric]} in {folder}"


def load_script(path: Path) -> Any:
    """A TorchScript network for evaluation; ModelError when the file is none."""
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} is no TorchScript network.", hint="Get the file again, or leave --weights."
        ) from error


def lpips(network: Any, a: UInt8, b: UInt8) -> float:
    """Squared distance of the network's LPIPS features of two pictures ``[h w 3]``."""
    import torch

    with torch.inference_mode():
        features = network(_planar([a, b]).float(), resize_images=False, return_lpips=True)
    return float((features[0] - features[1]).square().sum())


def inception_features(network: Any, pictures: list[UInt8]) -> Float32:
    """Features ``[n 2048]`` of pictures ``[h w 3]`` of one size."""
    import torch

    with torch.inference_mode():
        return np.asarray(network(_planar(pictures), return_features=True).numpy())


def video_features(network: Any, frames: npt.NDArray[np.uint8]) -> Float32:
    """Features ``[d]`` of a clip ``[t h w 3]``, resized to 224 and scaled to [−1, 1] as StyleGAN-V does."""
    import torch
    from torch.nn import functional as F

    with torch.inference_mode():
        pixels = _planar(list(frames)).float()
        pixels = F.interpolate(pixels, (FVD_SIZE, FVD_SIZE), mode="bilinear", antialias=True, align_corners=False)
        clip = (pixels / 127.5 - 1).permute(1, 0, 2, 3)[None]
        return np.asarray(network(clip, rescale=False, resize=False, return_features=True)[0].numpy())


def _planar(pictures: list[UInt8]) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))
