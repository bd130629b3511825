"""Tiny clips made with ffmpeg's lavfi sources, so that tests need no media files and no network.

Only encoders that every build has are relied upon; ask ``has_encoder`` for others. No audio or video is random:
the same arguments give the same content.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import av

from lipsync_cli.media.ffmpeg import find_ffmpeg

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "18")


def run_ffmpeg(*args: str) -> None:
    """Run ffmpeg on ``args``; its own words are in the error when it fails."""
    command = [str(find_ffmpeg().path), "-hide_banner", "-nostdin", "-v", "error", "-y", *args]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def has_encoder(name: str) -> bool:
    """Whether this machine's ffmpeg can encode with ``name``."""
    return name in find_ffmpeg().encoders


def make_video(
    path: Path,
    *,
    size: str = "64x48",
    rate: str = "25",
    frames: int = 20,
    pix_fmt: str = "yuv420p",
    codec: Sequence[str] = H264,
    filters: str = "",
    audio: str = "",
    extra: Sequence[str] = (),
) -> Path:
    """A moving test pattern of ``frames`` frames, with a tone when ``audio`` names its encoder."""
    # testsrc2 has more motion but rounds odd sizes.
    kind = "testsrc" if any(int(side) % 2 for side in size.split("x")) else "testsrc2"
    chain = ",".join(part for part in (f"{kind}=s={size}:r={rate}", filters, f"format={pix_fmt}") if part)
    args = ["-f", "lavfi", "-i", chain]
    if audio:
        args += ["-f", "lavfi", "-i", "sine=f=330:r=44100", "-c:a", audio, "-shortest"]
    run_ffmpeg(*args, "-frames:v", str(frames), *codec, *extra, name_of(path))
    return path


def make_vfr(path: Path, frames: int = 20) -> Path:
    """Uneven spacing: frames at 0, 1, 2, 5, 6, 7, 10 … thirtieths of a second, B-frames included."""
    uneven = "setpts='(N+2*floor(N/3))/(30*TB)'"
    return make_video(
        path, rate="30", frames=frames, filters=uneven, codec=("-c:v", "libx264", "-crf", "18"), extra=passthrough()
    )


def passthrough() -> tuple[str, str]:
    """The option that keeps time stamps as they are, in the words of the ffmpeg at hand."""
    return ("-fps_mode", "passthrough") if find_ffmpeg().version >= (5, 1) else ("-vsync", "passthrough")


def make_rotated(path: Path, clockwise: int, source: Path) -> Path:
    """``source`` (MP4) with a display matrix that has players turn it ``clockwise`` degrees, pixels untouched.

    The matrix is written into the file by hand, because no option does it in every version of ffmpeg.
    """
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + (52 if data[data.index(b"tkhd") + 4] == 1 else 40)
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero, last = bytes(4), (1 << 30).to_bytes(4, "big")
    a, b, c, d = {0: (one, zero, zero, one), 90: (zero, one, minus, zero), 180: (minus, zero, zero, minus),
                  270: (zero, minus, one, zero)}[clockwise]  # fmt: skip
    data[at : at + 36] = a + b + zero + c + d + zero + zero + zero + last
    path.write_bytes(data)
    return path


def make_tone(
    path: Path, *, seconds: float = 1.0, rate: int = 48000, channels: int = 1, codec: Sequence[str] = (), f: int = 440
) -> Path:
    """A sine at a quarter of full scale (ffmpeg's own is an eighth), the same in every channel."""
    chain = f"sine=f={f}:r={rate}:d={seconds},volume=2"
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    pan = f",pan={layout}|" + "|".join(f"c{i}=c0" for i in range(channels)) if channels > 1 else ""
    run_ffmpeg("-f", "lavfi", "-i", chain + pan, *codec, name_of(path))
    return path


def name_of(path: Path) -> str:
    """A path that ffmpeg cannot take for an option or a protocol."""
    return f"file:{path.absolute()}"


def time_stamps(path: Path) -> list[float]:
    """Seconds of every decoded video frame, by plain PyAV: the oracle for our own reader."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
