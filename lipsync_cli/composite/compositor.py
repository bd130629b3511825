"""Putting generated crops back into the decoded planes, and changing nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.composite.colorspace import RgbToPlanes, chroma_siting, rgb_to_planes, to_codes
from lipsync_cli.composite.mask import FEATHER, blend_mask
from lipsync_cli.composite.match import color_field, with_detail
from lipsync_cli.composite.warp import covering_window, sample_layer
from lipsync_cli.geometry import compose_affine, transform_points
from lipsync_cli.pixel_formats import PixelFormat, Siting, pixel_format
from lipsync_cli.region import LOWER_FACE_REGION, Region
from lipsync_cli.types import Alignment, Float32, Float64, Frame, Patch, Plane, VideoInfo


@dataclass(frozen=True, slots=True)
class _Overlay:
    """A patch in crop space: the picture becomes ``picture · (1 − cover) + paint``, plane by plane.

    ``paint``, ``[h w]`` for each plane, is in code values, ``cover`` ``[h w]`` in [0, 1]; ``to_crop`` ``[2 3]`` maps
    storage pixels to these arrays. One linear form means one resampling kernel for colour and weight, so they
    cannot disagree.
    """

    paint: tuple[Float32, ...]
    cover: Float32
    to_crop: Float64


class Compositor:
    """Blends patches into the frames of one video.

    ``color_match`` removes smooth differences in colour between a patch and its surroundings; ``keep_detail``
    keeps the picture's own fine detail where the generator changed nothing; ``feather`` is the soft edge's width
    in crop widths; ``region`` is what the generator writes. Stateless: a frame's result depends on that frame.
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        region: Region = LOWER_FACE_REGION,
        color_match: bool = True,
        keep_detail: bool = True,
        feather: float = FEATHER,
    ) -> None:
        """Raises InputError for a pixel format or colour matrix that cannot be edited in place."""
        rgb_to_planes(pixel_format(info.pix_fmt), info.color)
        self._color = info.color
        self._siting = chroma_siting(info.codec)
        self._region = region
        self._color_match = color_match
        self._keep_detail = keep_detail
        self._feather = feather

    def blend(self, frame: Frame, patches: Sequence[Patch]) -> Frame:
        """``frame`` with ``patches`` painted in order; the input is never changed.

        Samples outside every mask keep their bits, planes nobody touched are shared with the input, and without
        a visible patch the very same frame comes back. Otherwise ``rgb`` is dropped, since it no longer fits.
        Raises ValueError for a patch whose pixels are not finite or not the size of its crop.
        """
        visible = [patch for patch in patches if patch.weight > 0]
        if not visible:
            return frame
        fmt = pixel_format(frame.pix_fmt)
        planes = list(frame.planes)
        for patch in visible:
            overlay = self._overlay(patch, rgb_to_planes(fmt, self._color))
            for index in range(len(planes)):
                planes[index] = _paint(planes[index], index, overlay, fmt, self._siting)
        return replace(frame, planes=tuple(planes), rgb=None)

    def _overlay(self, patch: Patch, convert: RgbToPlanes) -> _Overlay:
        size = patch.source.alignment.size
        _check(patch, size)
        rows, columns = self._region.window(size)
        drawing = patch.drawing
        mask = blend_mask(
            patch.source.landmarks, size, feather=self._feather, region=self._region, drawn_jaw=drawing.jaw
        )[rows, columns]
        source = patch.source.rgb[rows, columns] * np.float32(1 / 255)
        generated = np.clip(drawing.rgb[rows, columns], 0, 1)
        if self._color_match:
            generated = np.clip(generated + color_field(generated, source, mask), 0, 1)
        cover = np.ones_like(mask)
        if self._keep_detail:
            generated, cover = with_detail(generated, source, size)
        mask = mask * np.float32(min(patch.weight, 1.0))
        rgb, cover = mask[..., None] * generated, mask * cover
        # A 3 × 4 matrix over (r, g, b, cover): colours and the offset they carry in one pass.
        matrix = np.column_stack([convert.linear, convert.offset])
        layers = cv2.split(cv2.transform(cv2.merge([*cv2.split(rgb), cover]), matrix))
        paint = tuple(np.asarray(layer, np.float32) for layer in layers)
        shift = np.array([[1.0, 0, -columns.start], [0, 1, -rows.start]])
        return _Overlay(paint, cover, compose_affine(shift, patch.source.alignment.matrix))


def _check(patch: Patch, size: int) -> None:
    shape = (size, size, 3)
    drawn = patch.drawing.rgb
    if drawn.shape != shape or patch.source.rgb.shape != shape:
        raise ValueError(
            f"a patch and its crop must be {size}×{size}×3, got {drawn.shape} and {patch.source.rgb.shape}"
        )
    if not np.isfinite(drawn).all() or not np.isfinite(patch.source.alignment.matrix).all():
        raise ValueError("a patch must hold finite pixels and a finite alignment")


def _paint(plane: Plane, index: int, overlay: _Overlay, fmt: PixelFormat, siting: Siting) -> Plane:
    """A copy of ``plane`` with the overlay on it, or ``plane`` itself if nothing reaches it."""
    to_crop = compose_affine(overlay.to_crop, fmt.to_luma(index, siting))
    window = covering_window(to_crop, _shape(overlay.cover), _shape(plane))
    if window.empty:
        return plane
    old = plane[window.slices].astype(np.float32)
    change = sample_layer(overlay.paint[index], to_crop, window)
    change -= sample_layer(overlay.cover, to_crop, window) * old
    if not (np.abs(change) >= 0.5).any():
        return plane
    out = plane.copy()
    # Where the mask is 0 so is the change, and rounding returns the very code value that was there.
    out[window.slices] = to_codes(old + change, fmt)
    return out


def _shape(array: npt.NDArray[np.generic]) -> tuple[int, int]:
    return array.shape[0], array.shape[1]


def touched_region(
    info: VideoInfo, alignment: Alignment, region: Region = LOWER_FACE_REGION
) -> npt.NDArray[np.bool_]:
    """Storage pixels ``[height width]`` that blending a patch there may change; all others keep their bits.

    An upper bound: the mask is smaller where the face is. A pixel counts as changed when its chroma sample may be.
    """
    # Area sampling reaches half a sample beyond the border, and a chroma sample stands for its whole block, so the
    # region is widened by a block; also from just outside the picture.
    bx, by = (1 << shift for shift in pixel_format(info.pix_fmt).shift)
    inside = np.zeros((info.height + 2 * by, info.width + 2 * bx), np.uint8)
    to_crop = compose_affine(alignment.matrix, np.array([[1.0, 0, -bx], [0, 1, -by]]))
    window = covering_window(to_crop, (alignment.size, alignment.size), _shape(inside))
    x, y = np.meshgrid(np.arange(window.x0, window.x1), np.arange(window.y0, window.y1))
    points = (transform_points(to_crop, np.stack([x, y], -1)) + 0.5) / alignment.size
    inside[window.slices] = region.radius(points[..., 0], points[..., 1]) < 1.0
    wide = cv2.dilate(inside, np.ones((2 * by + 1, 2 * bx + 1), np.uint8))
    return np.asarray(wide[by:-by, bx:-bx], np.bool_)
