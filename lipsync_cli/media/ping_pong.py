"""Going on after the last frame: backward to the first, forward to the last, and so on, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.media.decode import Decoder, Picture
from lipsync_cli.media.pixels import decoded_format

_MOST_BYTES = 256 << 20
_MOST_FRAMES = 32


def bounced(decoder: Decoder, first: int, last: int) -> Iterator[Picture]:
    """What follows the pictures with pts ``first`` … ``last``, for ever: … last−1 … first, first+1 … last, …

    Turning pictures are not repeated; a single picture is. Each item keeps its own pts. Held: up to 32 decoded
    pictures or 256 MiB of them, whichever is less; long groups of pictures are decoded again for each span.
    """
    while first == last:
        yield from _between(decoder, first, last)
    while True:
        yield from _backward(decoder, first, last)
        yield from _between(decoder, first + 1, last)


def _between(decoder: Decoder, first: int, last: int) -> Iterator[Picture]:
    for picture in decoder.pictures(first):
        if picture.pts > last:
            return
        yield picture


def _backward(decoder: Decoder, first: int, before: int) -> Iterator[Picture]:
    """Pictures with ``first <= pts < before``, the latest one first."""
    span = _span(decoder)
    while before > first:
        held: deque[Picture] = deque(maxlen=span)
        for picture in decoder.since_keyframe(before - 1):
            if picture.pts >= before:
                break
            if picture.pts >= first:
                held.append(picture)
        if not held:
            return
        before = held[0].pts
        while held:
            yield held.pop()


def _span(decoder: Decoder) -> int:
    info = decoder.info
    size = pixel_format(decoded_format(info)).frame_bytes(info.width, info.height)
    return max(2, min(_MOST_FRAMES, _MOST_BYTES // size))
