"""The display matrix of a finished MP4 or QuickTime file, for versions of ffmpeg that cannot write one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ONE, _W = 1 << 16, 1 << 30
_MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_rotation(path: Path, clockwise: int) -> bool:
    """Have players turn the video track of ``path`` by ``clockwise`` degrees; False if it has no such track.

    36 bytes are replaced in place (the matrix of the track header), so it costs nothing and moves nothing.
    """
    a, b, c, d = _MATRICES[clockwise]
    values = (a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, 0, 0, _W)
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    with path.open("rb+") as file:
        end = file.seek(0, 2)
        for moov in _boxes(file, 0, end, b"moov"):
            for track in _boxes(file, *moov, b"trak"):
                if not _is_video(file, track):
                    continue
                for start, _ in _boxes(file, *track, b"tkhd"):
                    file.seek(start)
                    # Version 1 of the header has three 64-bit times where version 0 has 32-bit ones.
                    file.seek(start + (52 if file.read(1) == b"\x01" else 40))
                    file.write(matrix)
                    return True
    return False


def _is_video(file: BinaryIO, track: tuple[int, int]) -> bool:
    for media in _boxes(file, *track, b"mdia"):
        for start, _ in _boxes(file, *media, b"hdlr"):
            file.seek(start + 8)
            return file.read(4) == b"vide"
    return False


def _boxes(file: BinaryIO, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Where the content of each box of ``kind`` between two offsets begins and ends."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, skip = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16], "big"), 16
        size = size or end - start
        if size < skip:
            return
        if head[4:8] == kind:
            yield start + skip, start + size
        start += size
