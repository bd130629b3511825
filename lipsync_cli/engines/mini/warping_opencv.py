"""What ``nn.warping`` does at the size of the crop, with OpenCV: several times faster where a processor draws.

Versions of OpenCV before 5 round coordinates to 1/32 pixel, which is all that the two then differ in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.geometry import of_each_channel
from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.core.types import Crop, Float32
from lipsync_cli.engines.mini.nn.frame_edit import predict_edit
from lipsync_cli.engines.mini.nn.renderer import References, Renderer, SelectedReferences
from lipsync_cli.engines.mini.nn.warping import DETAIL_POWER, Fields, Inpainting, RegionWindow


def pictures(pixels: Tensor) -> tuple[Float32, ...]:
    """References ``[k 3 s s]`` as OpenCV samples them, each ``[s s 3]``."""
    return tuple(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()) for picture in pixels)


class RenderJob(NamedTuple):
    """A crop about to be drawn: its state ``z`` ``[1 d]`` and its ``points`` ``[1 29 2]``, ``references`` and their
    ``pictures`` as the bank holds them for it, the points that choose among them, and those at which the
    crop's own mouth lies."""

    crop: Crop
    z: Tensor
    points: Tensor
    references: References
    pictures: Sequence[Float32]
    selection_points: Tensor
    own_points: Tensor

    def chosen(self) -> SelectedReferences:
        """Its nearest references."""
        return self.references.select(self.selection_points)


def draw(
    renderer: Renderer, jobs: Sequence[RenderJob], frames: Sequence[Float32]
) -> tuple[list[Float32], RegionWindow]:
    """What ``Renderer`` makes of jobs whose crops are ``frames`` ``[s s 3]`` in [0, 1]: the window of each,
    ``[h w 3]`` in about [0, 1], and where it lies. The networks look at several at once, which is quicker than one by
    one."""
    small = jobs[0].references.network_size
    window = RegionWindow.of(small).enlarged(len(frames[0]) // small)
    drawn: list[Float32] = []
    each = ((job, frame, job.chosen()) for job, frame in zip(jobs, frames, strict=True))
    # While a bank fills, later crops may have more references to be drawn from.
    for _, alike in groupby(each, lambda one: len(one[2].z[0])):
        drawn += _drawn_together(renderer, *zip(*alike, strict=True), window=window)
    return drawn, window


def _drawn_together(
    renderer: Renderer,
    jobs: Sequence[RenderJob],
    frames: Sequence[Float32],
    chosen: Sequence[SelectedReferences],
    *,
    window: RegionWindow,
) -> list[Float32]:
    """``draw`` of crops that have as many references each."""
    small = jobs[0].references.network_size
    z = torch.cat([job.z for job in jobs])
    places = torch.cat([job.points + job.references.shift for job in jobs])
    # The fourth channel that OpenCV adds is the ones that the renderer wants.
    shrunk = [_shrunk(frame, (small, small)) for frame in frames]
    features = renderer.encode_frame(
        _tensor([np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.float32) for image in shrunk])
    )
    prediction = renderer.predict_flow(features, z, places, SelectedReferences.joined(chosen))
    warped = [
        _warp(prediction.fields.frame(at), [job.pictures[int(index)] for index in prediction.indices[at]], window)
        for at, job in enumerate(jobs)
    ]
    paint = renderer.inpaint(
        prediction, z, _tensor([_shrunk(image, prediction.masked.shape[-2:]) for image in warped])
    )
    return [_blend(image, paint.frame(at)) for at, image in enumerate(warped)]


def edit_frame(job: RenderJob, frame: Float32, drawn: Float32, window: RegionWindow) -> Float32:
    """See ``nn.frame_edit.edit_frames``: the window ``[h w 3]`` of ``frame``, changed in the region only."""
    height, width = window.shape
    wanted = job.points + job.references.shift
    edit = predict_edit(job.own_points, wanted, job.references.network_size)
    x, y = (_enlarged(axis * np.float32(len(frame)), width, height) for axis in edit.shift[0].numpy())
    x += np.arange(window.columns.start, window.columns.stop, dtype=np.float32)
    y += np.arange(window.rows.start, window.rows.stop, dtype=np.float32)[:, None]
    moved = np.asarray(cv2.remap(frame, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)
    lips = _enlarged(edit.lips[0, 0].numpy(), width, height)
    border = of_each_channel(lips * (1 - lips))
    difference = (border * (moved - drawn)).sum((0, 1)) / max(float(border[..., 0].sum()), 1e-6)
    edited = moved + of_each_channel(lips) * (drawn + difference.astype(np.float32) - moved)
    return _in_region(frame, edited, window)


def _in_region(frame: Float32, edited: Float32, window: RegionWindow) -> Float32:
    """The window of ``frame`` with ``edited`` where a crop is generated."""
    generated = generation_region(len(frame))[window.rows, window.columns]
    shown = frame[window.rows, window.columns].copy()
    return np.asarray(cv2.copyTo(edited, generated.view(np.uint8), shown), np.float32)


def _warp(fields: Fields, sources: Sequence[Float32], window: RegionWindow) -> Float32:
    """See ``nn.warping.warp``; ``[h w 3]``."""
    height, width = window.shape
    size = len(sources[0])
    columns = np.arange(window.columns.start, window.columns.stop, dtype=np.float32)
    rows = np.arange(window.rows.start, window.rows.stop, dtype=np.float32)[:, None]
    logits = np.stack([_enlarged(logit, width, height) for logit in fields.logits[0].numpy()])
    mixed, more = np.zeros((2, height, width, 3), np.float32)
    shares, detail = _shares(logits)
    detail -= shares
    for source, shift, share, above in zip(sources, fields.shift[0].numpy(), shares, detail, strict=True):
        x, y = (_enlarged(axis * np.float32(size), width, height) for axis in shift)
        x += columns
        y += rows
        taken: Float32 = np.asarray(
            cv2.remap(source, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32
        )
        mixed += taken * of_each_channel(share)
        taken *= of_each_channel(above)
        more += taken
    mixed += more
    mixed -= _enlarged(_shrunk(more, fields.logits.shape[-2:]), width, height)
    return mixed


def _blend(warped: Float32, paint: Inpainting) -> Float32:
    """See ``nn.warping.blend``: gate · (warped + ¼ colour) + (1 − gate) · (½ + ½ colour), in fewer passes."""
    height, width = warped.shape[:2]
    colour = _enlarged(paint.colour[0].permute(1, 2, 0).numpy(), width, height)
    gate = _enlarged(paint.gate[0, 0].numpy(), width, height)
    out = warped - 0.5
    colour *= 0.25
    out -= colour
    out *= of_each_channel(gate)
    colour *= 2
    out += colour
    out += 0.5
    return out


def _shares(logits: Float32) -> tuple[Float32, Float32]:
    """Shares over the first axis, by softmax, and those of detail, which are their powers shared out again. Uses
    ``logits`` up."""
    logits -= logits.max(0)
    shares = np.exp(logits)
    logits *= DETAIL_POWER
    detail = np.exp(logits, out=logits)
    shares /= shares.sum(0)
    detail /= detail.sum(0)
    return shares, detail


def _enlarged(maps: Float32, width: int, height: int) -> Float32:
    return np.asarray(cv2.resize(np.ascontiguousarray(maps), (width, height), interpolation=cv2.INTER_LINEAR))


def _shrunk(image: Float32, shape: Sequence[int]) -> Float32:
    height, width = shape
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def _tensor(images: Sequence[Float32]) -> Tensor:
    """n images ``[h w c]`` as ``[n c h w]``, channels last."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
