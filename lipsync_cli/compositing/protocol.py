"""What a compositing backend is given and has to do: blend a patch into the samples of a picture's planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from lipsync_cli.compositing.colorspace import RgbToPlanes
from lipsync_cli.compositing.warp import PatchWindow
from lipsync_cli.core.mouth_region import Region
from lipsync_cli.core.pixel_formats import PixelFormat
from lipsync_cli.core.types import Float64, Patch, Plane

NOT_FINITE = "a patch must hold finite pixels"


@dataclass(frozen=True, slots=True)
class BlendOptions:
    """How patches are blended; ``Compositor`` says what each means."""

    region: Region
    color_match: bool
    keep_detail: bool
    feather: float


@dataclass(frozen=True, slots=True)
class PlaneTarget:
    """The part of plane number ``plane`` that a patch can reach: ``codes`` ``[h w]`` are what ``window`` holds.

    ``to_crop`` ``[2 3]`` maps the plane's sample positions to pixels of the region's window of the crop.
    """

    plane: int
    codes: Plane
    window: PatchWindow
    to_crop: Float64


class CompositingBackend(Protocol):
    """Does the arithmetic of composition. Results of two backends may differ by a code value of rounding."""

    def blend(
        self,
        patch: Patch,
        targets: Sequence[PlaneTarget],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: BlendOptions,
    ) -> list[Plane]:
        """The new codes ``[h w]`` of each target; those given are not changed.

        May be called by several threads at a time. Raises ValueError for pixels that are not finite.
        """
        ...


def by_sample_grid(targets: Sequence[PlaneTarget]) -> Iterator[list[PlaneTarget]]:
    """Consecutive targets whose samples sit at the same places, in order."""
    for _, group in groupby(targets, key=lambda target: (target.window, target.to_crop.tobytes())):
        yield list(group)
