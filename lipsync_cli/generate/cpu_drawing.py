"""What ``nn.drawing`` does at the size of the crop, with OpenCV: several times faster where a processor draws.

Versions of OpenCV before 5 round coordinates to 1/32 pixel, which is all that the two then differ in.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from lipsync_cli.geometry import of_each_channel
from lipsync_cli.nn.drawing import DETAIL_POWER, Fields, Paint, RegionWindow
from lipsync_cli.nn.renderer import References, Renderer, Seen
from lipsync_cli.region import generation_region
from lipsync_cli.types import Float32


def pictures(pixels: Tensor) -> tuple[Float32, ...]:
    """References ``[k 3 s s]`` as OpenCV samples them, each ``[s s 3]``."""
    return tuple(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()) for picture in pixels)


def see(renderer: Renderer, frames: Sequence[Float32], network_size: int) -> Seen:
    """What the renderer sees of crops ``[s s 3]`` in [0, 1], as ``draw`` takes it one by one."""
    small = [_shrunk(frame, (network_size, network_size)) for frame in frames]
    return renderer.see(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2))


def draw(
    renderer: Renderer,
    frame: Float32,
    seen: Seen,
    z: Tensor,
    points: Tensor,
    references: References,
    sources: Sequence[Float32],
    like: Tensor | None = None,
) -> tuple[Float32, RegionWindow]:
    """What ``Renderer`` makes of one crop ``[s s 3]`` in [0, 1] with a state ``[1 d]`` and its points ``[1 29 2]``:
    the window of the result, ``[h w 3]`` in about [0, 1], and where it lies. ``seen`` is of this crop, ``sources``
    are the references' ``pictures``, ``like`` as there."""
    small = references.network_size
    window = RegionWindow.of(small).enlarged(len(frame) // small)
    look = renderer.look(seen, z, points, references, like)
    warped = _take(look.fields, [sources[int(index)] for index in look.indices[0]], window)
    paint = renderer.paint(look, z, _tensor(_shrunk(warped, look.masked.shape[-2:])))
    drawn = _blend(warped, paint)
    generated = generation_region(len(frame))[window.rows, window.columns]
    shown = frame[window.rows, window.columns].copy()
    return np.asarray(cv2.copyTo(drawn, generated.view(np.uint8), shown), np.float32), window


def _take(fields: Fields, sources: Sequence[Float32], window: RegionWindow) -> Float32:
    """See ``nn.drawing.take``; ``[h w 3]``."""
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


def _blend(warped: Float32, paint: Paint) -> Float32:
    """See ``nn.drawing.blend``: gate · (warped + ¼ colour) + (1 − gate) · (½ + ½ colour), in fewer passes."""
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


def _tensor(image: Float32) -> Tensor:
    """``[h w 3]`` as ``[1 3 h w]``, channels last."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]
