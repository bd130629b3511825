from __future__ import annotations

import av
import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, pixel_format


@pytest.mark.parametrize("name", sorted(PIXEL_FORMATS))
def test_pixel_formats_agree_with_ffmpeg(name: str) -> None:
    ours, theirs = pixel_format(name), av.VideoFormat(name, 33, 21)
    assert ours.planes == len(theirs.components)
    assert ours.is_rgb == theirs.is_rgb
    assert {component.bits for component in theirs.components} == {ours.depth}
    frame = av.VideoFrame(33, 21, name)
    assert ours.shapes(33, 21) == tuple((plane.height, plane.width) for plane in frame.planes)
    assert ours.frame_bytes(33, 21) == sum(h * w for h, w in ours.shapes(33, 21)) * ours.dtype().itemsize


def test_pixel_format_that_is_unknown_is_an_input_error() -> None:
    with pytest.raises(InputError, match="pal8"):
        pixel_format("pal8")
