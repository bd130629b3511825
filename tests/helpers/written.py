"""Frames written with ``FrameSink`` and read back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from lipsync_cli.core.types import Frame
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames

LOSSLESS = EncodeOptions(lossless=True, preset="ultrafast")
QUICK = EncodeOptions(preset="ultrafast")


def frames_of(path, **options) -> list[Frame]:
    with open_frames(probe(path), **options) as frames:
        return list(frames)


def write(source: Path, target: Path, *, part=None, tracks=None, **options) -> tuple[list[Frame], FrameSink]:
    info = probe(source)
    still = {"still_duration": Fraction(1, 5)} if info.video.is_still else {}
    frames = frames_of(source, **still, **(part or {}))
    with FrameSink(target, info, source=tracks, **options) as sink:
        for frame in frames:
            sink.write(frame)
    assert sink.frames_written == len(frames)
    assert not list(target.parent.glob("*.part"))
    return frames, sink


def planes_equal(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for f, g in zip(one, other, strict=True) for a, b in zip(f.planes, g.planes, strict=True)
    )
