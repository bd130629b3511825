"""Putting generated crops back into the decoded planes, and changing nothing else.

Order, checks and geometry are here; the arithmetic inside a plane's window is a backend's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lipsync_cli.compositing.colorspace import chroma_siting, rgb_to_planes
from lipsync_cli.compositing.mask import FEATHER
from lipsync_cli.compositing.numpy_backend import NumpyBackend
from lipsync_cli.compositing.protocol import BlendOptions, CompositingBackend, PlaneTarget
from lipsync_cli.compositing.warp import PatchWindow, covering_window
from lipsync_cli.core.geometry import compose_affine
from lipsync_cli.core.mouth_region import LOWER_FACE_REGION, Region
from lipsync_cli.core.pixel_formats import PixelFormat, pixel_format
from lipsync_cli.core.types import Float64, Frame, Patch, Plane, VideoInfo


class Compositor:
    """Blends patches into the frames of one video.

    ``color_match`` removes smooth differences in colour between a patch and its surroundings; ``keep_detail``
    keeps the picture's own fine detail where the generator changed nothing; ``feather`` is the soft edge's width
    in crop widths; ``region`` is the part of a crop that may be generated; ``backend`` does the arithmetic, on the
    CPU by default. Stateless: a frame's result depends on that frame.
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        region: Region = LOWER_FACE_REGION,
        color_match: bool = True,
        keep_detail: bool = True,
        feather: float = FEATHER,
        backend: CompositingBackend | None = None,
    ) -> None:
        """Raises InputError for a pixel format or colour matrix that cannot be edited in place."""
        rgb_to_planes(pixel_format(info.pix_fmt), info.color)
        self._color = info.color
        self._siting = chroma_siting(info.codec)
        self._options = BlendOptions(region, color_match, keep_detail, feather)
        self._backend = backend or NumpyBackend()

    def blend(self, frame: Frame, patches: Sequence[Patch]) -> Frame:
        """``frame`` with ``patches`` blended in, in order; the input is never changed.

        Samples outside every mask keep their bits, planes nobody touched are shared with the input, and without
        a visible patch the very same frame comes back. Otherwise ``rgb`` is dropped, since it no longer fits.
        Raises ValueError for a patch whose pixels are not finite or not the size of its crop.
        """
        visible = [patch for patch in patches if patch.weight > 0]
        if not visible:
            return frame
        fmt = pixel_format(frame.pix_fmt)
        planes, convert = list(frame.planes), rgb_to_planes(fmt, self._color)
        for patch in visible:
            _check(patch)
            targets = self._targets(planes, patch, fmt)
            blended = self._backend.blend(patch, targets, fmt, convert, self._options)
            for target, codes in zip(targets, blended, strict=True):
                planes[target.plane] = _with_codes(planes[target.plane], target, codes)
        return replace(frame, planes=tuple(planes), rgb=None)

    def _targets(self, planes: Sequence[Plane], patch: Patch, fmt: PixelFormat) -> list[PlaneTarget]:
        """The parts of ``planes`` that ``patch`` can reach."""
        rows, columns = self._options.region.window(patch.source.alignment.size)
        shape = rows.stop - rows.start, columns.stop - columns.start
        shift = np.array([[1.0, 0, -columns.start], [0, 1, -rows.start]])
        in_window = compose_affine(shift, patch.source.alignment.matrix)
        grids: dict[tuple[int, int], tuple[Float64, PatchWindow]] = {}
        targets = []
        for index, plane in enumerate(planes):
            if fmt.plane_shift(index) not in grids:
                to_crop = compose_affine(in_window, fmt.to_luma(index, self._siting))
                grids[fmt.plane_shift(index)] = to_crop, covering_window(to_crop, shape, _shape(plane))
            to_crop, window = grids[fmt.plane_shift(index)]
            if not window.empty:
                targets.append(PlaneTarget(index, plane[window.slices], window, to_crop))
        return targets


def _check(patch: Patch) -> None:
    size = patch.source.alignment.size
    shape, given = (size, size, 3), tuple(patch.drawing.rgb.shape)
    if given != shape or patch.source.rgb.shape != shape:
        raise ValueError(f"a patch and its crop must be {size}×{size}×3, got {given} and {patch.source.rgb.shape}")
    if not np.isfinite(patch.source.alignment.matrix).all():
        raise ValueError("a patch must have a finite alignment")


def _with_codes(plane: Plane, target: PlaneTarget, codes: Plane) -> Plane:
    """A copy of ``plane`` with ``codes`` in the target's window, or ``plane`` itself if they are there already."""
    if np.array_equal(target.codes, codes):
        return plane
    out = plane.copy()
    out[target.window.slices] = codes
    return out


def _shape(array: npt.NDArray[np.generic]) -> tuple[int, int]:
    return array.shape[0], array.shape[1]
