"""The doctor's checks that do something: find ffmpeg, and dub a drawn head with the ``passthrough`` model."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lipsync_cli.cli.doctor.checks import CheckRow
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import DubSettings

# Encoders a dub may ask for, the first of them without being told to.
NEEDED = ("libx264", "aac")
USEFUL = ("libx265", "libvpx-vp9", "libopus", "libsvtav1")
SECONDS = 2.0


def ffmpeg() -> CheckRow:
    """The executable that encodes."""
    from lipsync_cli.media.ffmpeg import find_ffmpeg

    found = find_ffmpeg()
    return CheckRow("ffmpeg", "ok", f"{found.version_text} ({found.path})")


def codecs() -> CheckRow:
    """What it can encode."""
    from lipsync_cli.media.ffmpeg import find_ffmpeg

    encoders = find_ffmpeg().encoders
    missing = [name for name in (*NEEDED, *USEFUL) if name not in encoders]
    fix = "Install a full build of ffmpeg, or the Python package imageio-ffmpeg."
    if any(name in NEEDED for name in missing):
        return CheckRow("codecs", "fail", f"missing: {', '.join(missing)}", fix)
    if missing:
        return CheckRow("codecs", "warn", f"missing: {', '.join(missing)}; only needed when asked for", fix)
    return CheckRow("codecs", "ok", ", ".join((*NEEDED, *USEFUL)))


def rehearsal() -> CheckRow:
    """A whole dub of two synthetic seconds: a drawn head, a voice-like tone, no model."""
    from lipsync_cli.core.contact_sheets import save_png
    from lipsync_cli.dubbing import pipeline
    from lipsync_cli.dubbing.plan import plan
    from lipsync_cli.synthetic import draw_head, write_voice

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lipsync-doctor-") as name:
        folder = Path(name)
        save_png(folder / "head.png", draw_head())
        write_voice(folder / "voice.wav", SECONDS)
        settings = DubSettings(
            model="passthrough", length="audio", device="cpu", detect_every=10, encoder_preset="ultrafast"
        )
        request = DubRequest(folder / "head.png", folder / "voice.wav", folder / "head.dub.mp4", settings)
        report = pipeline.dub(plan(request))
    detail = f"{report.frames_out} frames of a drawn head in {time.perf_counter() - began:.1f} s"
    if not (report.frames_dubbed or report.passed_through.get("unchanged")):
        return CheckRow("dub", "fail", f"no face was found in {detail}", "Reinstall lipsync-cli and dlib-bin.")
    return CheckRow("dub", "ok", detail)
