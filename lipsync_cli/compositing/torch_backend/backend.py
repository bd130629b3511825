"""Composition with torch, on the device that generated the patches.

``NumpyBackend`` is the reference: lines, constants, windows, linear operators and the number of sub-samples come from
its modules, so the two can differ in arithmetic only. Of a picture only the windows that a patch reaches travel, as
code values, there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.compositing.colorspace import RgbToPlanes
from lipsync_cli.compositing.protocol import NOT_FINITE, BlendOptions, PlaneTarget, by_sample_grid
from lipsync_cli.compositing.torch_backend.crop_space import CropSpace
from lipsync_cli.compositing.torch_backend.sampling import sample_layers
from lipsync_cli.core.pixel_formats import PixelFormat
from lipsync_cli.core.types import Patch, Plane


class TorchBackend:
    """A CompositingBackend on ``device``, a CUDA device or, for tests, the CPU.

    It works in a CUDA stream of its own, so composition does not wait for what the generator has begun since. Held:
    a few matrices for each size of crop.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Its kernels are short; in front of the generator's long ones they hardly delay those.
        self._stream = _stream(device, priority=-1) if device.type == "cuda" else None
        self._space = CropSpace(device)

    @torch.inference_mode()
    def blend(
        self,
        patch: Patch,
        targets: Sequence[PlaneTarget],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: BlendOptions,
    ) -> list[Plane]:
        """See CompositingBackend."""
        with torch.cuda.stream(self._stream):
            overlay, finite = self._space.overlay(patch, convert, options)
            blended = [
                codes
                for group in by_sample_grid(targets)
                for codes in _blended(group, overlay, self._upload(group, fmt), fmt.peak)
            ]
            # One transfer, since each is waited for.
            dtype = torch.uint8 if fmt.depth == 8 else torch.int16
            flat = torch.cat([finite.reshape(1), *(codes.reshape(-1) for codes in blended)]).to(dtype).cpu()
        if not flat[0]:
            raise ValueError(NOT_FINITE)
        return _split(cast(Plane, flat[1:].numpy().view(fmt.dtype)), targets)

    def _upload(self, group: Sequence[PlaneTarget], fmt: PixelFormat) -> Tensor:
        """The codes ``[p h w]`` that the group's windows hold."""
        # torch hardly knows uint16; no format has more than 12 bits, so int16 holds the same.
        codes = np.stack([target.codes for target in group]).view(np.uint8 if fmt.depth == 8 else np.int16)
        return torch.from_numpy(codes).to(self.device).float()


def _stream(device: torch.device, priority: int) -> torch.cuda.Stream:
    make = cast(Callable[..., torch.cuda.Stream], torch.cuda.Stream)  # its constructor is not annotated
    return make(device, priority=priority)


def _blended(group: Sequence[PlaneTarget], overlay: Tensor, old: Tensor, peak: int) -> Tensor:
    """New code values ``[p h w]`` of a group's windows, for layers ``[planes + 1 h w]`` in crop space."""
    layers = torch.stack([*(overlay[target.plane] for target in group), overlay[-1]])
    sampled = sample_layers(layers, group[0].to_crop, group[0].window)
    return (old + (sampled[:-1] - sampled[-1] * old)).clamp(0, peak).round()


def _split(flat: Plane, targets: Sequence[PlaneTarget]) -> list[Plane]:
    """Codes ``[n]`` of all targets as one array for each."""
    ends = np.cumsum([target.codes.size for target in targets])[:-1]
    parts = np.split(flat, ends) if targets else []
    return [cast(Plane, part.reshape(target.codes.shape)) for part, target in zip(parts, targets, strict=True)]
