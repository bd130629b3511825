"""Whether a long dub drifts: ``python -m benchmarks.drift VIDEO [--minutes 10] [--preset balanced]``.

VIDEO, a talking clip, is repeated with its own sound until it is long enough and dubbed as one. Repetitions at the
beginning of every minute are then compared with the source's by ``lipsync eval``: sync, lips, identity, sharpness,
and the mean colour of what changed. The same seconds are scored each time: what differs is drift.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipsync_cli.core.types import Frame
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from tests.helpers.synthetic import run_ffmpeg

FIGURES = ("sync_probability", "av_offset", "lmd", "aperture_corr", "csim", "sharpness_ratio")
LOSSLESS = ("-c:v", "ffv1", "-c:a", "pcm_s16le")
VISIBLE = 2


def lipsync(*arguments: str) -> str:
    """Run the command line; returns its stdout."""
    command = [sys.executable, "-m", "lipsync_cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def piece(video: Path, start: Fraction, length: Fraction, out: Path) -> Path:
    """``length`` seconds from ``start``, without loss."""
    run_ffmpeg("-ss", f"{float(start):.3f}", "-t", f"{float(length):.3f}", "-i", str(video), *LOSSLESS, str(out))
    return out


def colour_shift(made: Path, real: Path) -> list[float]:
    """Mean difference of R, G and B over the pixels that changed, in code values."""
    total, count = np.zeros(3), 0
    with open_frames(probe(made)) as a, open_frames(probe(real)) as b:
        for one, two in zip(a, b, strict=False):
            difference = one.rgb.astype(float) - two.rgb
            changed = np.abs(difference).max(-1) > VISIBLE
            total, count = total + difference[changed].sum(0), count + int(changed.sum())
    return [float(value) for value in total / max(count, 1)]


def main() -> None:
    """One Markdown row a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--preset", default="balanced")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Repeated as decoded frames: the encoder's groups of pictures have no part in it.
        once = piece(given.video, Fraction(0), Fraction(10**4), folder / "once.mkv")
        frames = sum(1 for _ in _frames(once))
        period = Fraction(frames) / require_video(probe(once)).rate
        count = int(60 * given.minutes / period) + 2
        source, dub = folder / "source.mkv", folder / "dub.mkv"
        run_ffmpeg(
            "-stream_loop", str(count), "-i", str(once), "-c", "copy", "-t", f"{60 * given.minutes}", str(source)
        )
        report = folder / "report.json"
        lipsync("dub", str(source), str(source), "-o", str(dub), "--preset", given.preset, "--report", str(report),
                "--set", "codec=ffv1", "--set", "pix_fmt=yuv420p")  # fmt: skip
        sys.stdout.write(f"{given.video.name} × {count + 1}, {given.minutes} min, preset {given.preset}\n\n")
        sys.stdout.write("| minute | " + " | ".join(FIGURES) + " | colour |\n" + "|---" * (len(FIGURES) + 2) + "|\n")
        for minute in range(given.minutes):
            start = period * -(-60 * minute // period)
            made, real = (piece(v, start, period, folder / f"{v.stem}-{minute}.mkv") for v in (dub, source))
            score = json.loads(lipsync("eval", str(made), "--against", str(real), "--trim", "--json", "--quiet"))
            figures = [score["metrics"].get(figure) for figure in FIGURES]
            shift = "/".join(f"{value:+.1f}" for value in colour_shift(made, real))
            cells = ["–" if figure is None else f"{figure:.3f}" for figure in figures]
            sys.stdout.write(f"| {minute} | " + " | ".join(cells) + f" | {shift} |\n")
            sys.stdout.flush()


def _frames(path: Path) -> Iterator[Frame]:
    with open_frames(probe(path), with_rgb=False) as source:
        yield from source


if __name__ == "__main__":
    main()
