"""Print, for clips of many shapes, what a dub keeps: ``python -m benchmarks.conformance``.

Frames, the largest difference of time stamps, the distance between picture and sound at the start, and the tags,
before and after; then the PSNR of everything outside the lower face, at crf 14 and in a lossless file. Beside it is
what ffmpeg alone makes of the same frames with the same encoder settings: the encoder's own loss, without any dub.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av

from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from tests.e2e.conftest import PORTRAIT, dub_to, portrait_variant
from tests.helpers.fidelity import Psnr, psnr_outside
from tests.helpers.synthetic import make_rotated, passthrough, run_ffmpeg

BT601 = ("-colorspace", "smpte170m")
X264 = ("-c:v", "libx264", "-crf", "16", "-preset", "fast")
CLIPS = {
    "29.97 mp4": ("mp4", ("-r", "30000/1001", *X264)),
    "VFR mp4": ("mp4", ("-vf", "setpts='(N+2*floor(N/3))/(25*TB)'", *passthrough(), *X264)),
    "odd size mkv": ("mkv", ("-vf", "crop=477:475:exact=1", "-c:v", "ffv1")),
    "10 bit mp4": ("mp4", ("-pix_fmt", "yuv420p10le", *X264)),
    "bt601 full mp4": (
        "mp4",
        ("-vf", "scale=out_range=pc:out_color_matrix=bt601", "-color_range", "pc", *BT601, *X264),
    ),
    "anamorphic mp4": ("mp4", ("-vf", "scale=352:480,setsar=15/11", *X264)),
}
FIELDS = ("frames", "max Δt", "start offset", "size", "pix_fmt", "matrix", "range", "rotation", "SAR")


def times(path: Path) -> list[float]:
    """Presentation times of all frames, from the first on."""
    with open_frames(probe(path), with_rgb=False) as source:
        return [float(frame.time) for frame in source]


def start_offset(path: Path) -> float:
    """Seconds between the first picture and the first sound that is played."""
    starts = []
    with av.open(str(path)) as container:
        for kind in (container.streams.video, container.streams.audio):
            first = next(container.decode(kind[0]), None) if kind else None
            starts.append(float(first.time or 0.0) if first is not None else 0.0)
            container.seek(0)
    return starts[1] - starts[0]


def row(path: Path, reference: list[float]) -> list[str]:
    """One line of the table."""
    video, stamps = require_video(probe(path)), times(path)
    worst = max(abs(a - b) for a, b in zip(stamps, reference, strict=False))
    color = video.color
    return [
        str(len(stamps)), f"{1000 * worst:.3f} ms", f"{1000 * start_offset(path):.3f} ms",
        f"{video.width}×{video.height}", video.pix_fmt, str(color.tag_matrix), str(color.tag_range),
        str(video.rotation), str(video.sample_aspect_ratio),
    ]  # fmt: skip


def border_quality(folder: Path) -> Iterator[tuple[str, Psnr]]:
    """What a dub and what a plain encode leave of the frames that were decoded, outside the lower face."""
    frames, lossy, plain, exact = (folder / name for name in ("frames.mkv", "crf14.mp4", "plain.mp4", "exact.mkv"))
    run_ffmpeg("-i", str(PORTRAIT), "-t", "2", "-c:v", "ffv1", "-an", str(frames))
    dub_to(lossy, PORTRAIT, codec="libx264", crf=14, encoder_preset="medium", end=2)
    run_ffmpeg("-i", str(frames), "-c:v", "libx264", "-crf", "14", "-preset", "medium", str(plain))
    dub_to(exact, PORTRAIT, codec="ffv1", end=2)
    yield "dub, libx264 crf 14 medium", psnr_outside(frames, lossy)
    yield "ffmpeg alone, libx264 crf 14 medium", psnr_outside(frames, plain)
    yield "dub, ffv1", psnr_outside(frames, exact)


def main() -> None:
    """Make the clips, dub them and print."""
    folder = Path(tempfile.mkdtemp())
    sources = {
        name: portrait_variant(folder / f"{number}.{suffix}", *options)
        for number, (name, (suffix, options)) in enumerate(CLIPS.items())
    }
    turned = portrait_variant(folder / "turned.mp4", "-vf", "transpose=2", *X264)
    make_rotated(folder / "rotated.mp4", 90, turned)
    sources["rotated mp4"] = folder / "rotated.mp4"
    write = sys.stdout.write
    write(f"{'':24}" + "  ".join(f"{field:>13}" for field in FIELDS) + "\n")
    for name, source in sources.items():
        result = folder / f"{source.stem}.dub{source.suffix}"
        dub_to(result, source, codec="ffv1" if source.suffix == ".mkv" else "auto")
        reference = times(source)
        for when, path in (("before", source), ("after", result)):
            write(f"{name:16}{when:8}" + "  ".join(f"{cell:>13}" for cell in row(path, reference)) + "\n")
    write("\nPSNR outside the lower face, 2 s of the portrait\n")
    for name, psnr in border_quality(folder):
        write(f"{name:40}{psnr}\n")


if __name__ == "__main__":
    main()
