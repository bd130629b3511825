"""Raw frames as a NUT stream: the one pipe format that carries pictures with exact time stamps and time base."""

from __future__ import annotations

from fractions import Fraction
from typing import Self

import av
import numpy as np

from lipsync_cli.core.types import Plane


class NutWriter:
    """Turns planes into the bytes of a NUT stream, which the caller sends. Held: nothing between calls."""

    def __init__(self, width: int, height: int, pix_fmt: str, time_base: Fraction, rate: Fraction) -> None:
        self._bytes = _Collected()
        # Without an index the muxer's memory does not grow with the number of frames.
        options = {"flush_packets": "1", "write_index": "0"}
        self._container = av.open(self._bytes, "w", format="nut", options=options)
        stream = self._container.add_stream("rawvideo", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        self._stream, self._time_base = stream, time_base
        self._container.start_encoding()

    def frame(self, planes: tuple[Plane, ...], pts: int) -> bytes:
        """The bytes of one frame, the stream's header before the first."""
        packet = av.Packet(b"".join(np.ascontiguousarray(plane).data for plane in planes))
        packet.stream = self._stream
        packet.pts = packet.dts = pts
        packet.time_base = self._time_base
        packet.is_keyframe = True
        self._container.mux_one(packet)
        return self._bytes.take()

    def close(self) -> bytes:
        """The last bytes of the stream. Safe to call twice."""
        self._container.close()
        return self._bytes.take()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Collected:
    """A file that can only be appended to."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken
