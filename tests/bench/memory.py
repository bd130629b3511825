"""Print the peak memory of a dub of 10 seconds and of MINUTES: ``python -m tests.bench.memory [MINUTES] [MODEL]``.

The sample portrait and speech are looped; each dub runs in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.conftest import PORTRAIT, SPEECH
from tests.synthetic import run_ffmpeg


def measure(folder: Path, seconds: float, model: str) -> tuple[float, float]:
    """Peak RSS in MiB and wall seconds of a dub of ``seconds``, run in a child of its own."""
    video, audio = folder / f"{seconds:g}.mp4", folder / f"{seconds:g}.wav"
    run_ffmpeg("-stream_loop", "-1", "-i", str(PORTRAIT), "-t", str(seconds), "-c", "copy", str(video))
    run_ffmpeg("-stream_loop", "-1", "-i", str(SPEECH), "-t", str(seconds), "-c", "copy", str(audio))
    dub = [
        sys.executable,
        "-m",
        "lipsync_cli",
        "dub",
        str(video),
        str(audio),
        "-o",
        str(folder / f"{seconds:g}.out.mp4"),
    ]
    began = time.monotonic()
    subprocess.run([*dub, "--model", model, "--preset", "realtime", "--quiet"], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, time.monotonic() - began


def main() -> None:
    """The short clip first: the operating system reports the largest child so far."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    model = sys.argv[2] if len(sys.argv) > 2 else "lip-forcing-mini"
    folder = Path(tempfile.mkdtemp())
    for seconds in (10.0, 60 * minutes):
        peak, wall = measure(folder, seconds, model)
        sys.stdout.write(f"{seconds:6.0f} s: peak {peak:.0f} MiB, {wall:.0f} s of wall time\n")


if __name__ == "__main__":
    main()
