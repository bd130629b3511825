"""Fixtures and marks shared by all tests. No test needs the network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.paths import CLIPS

# A busy machine is no failure.
settings.register_profile("lipsync", deadline=None)
settings.load_profile("lipsync")

# Small networks gain nothing from threads, and workers share the cores. Read when torch and numpy are imported, and
# inherited by programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# In the background of a script Ctrl-C is ignored, and would be by the programs that tests interrupt, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this machine cannot or should not run; ``LIPSYNC_REQUIRE=gpu,clips`` turns skips into failures."""
    required = set(filter(None, os.environ.get("LIPSYNC_REQUIRE", "").split(",")))
    for mark, why_not in {"slow": _why_not_slow, "clips": _why_no_clips, "gpu": _why_no_gpu}.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not(config) if marked and mark not in required else ""
        for item in marked if reason else []:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not_slow(config: pytest.Config) -> str:
    wanted = config.getoption("--slow") or config.getoption("markexpr", "").strip() == "slow"
    return "" if wanted else "slow: run with --slow"


def _why_no_clips(config: pytest.Config) -> str:
    return "" if (CLIPS / "clips.csv").is_file() else "needs the training clips"


def _why_no_gpu(config: pytest.Config) -> str:
    import torch

    return "" if torch.cuda.is_available() else "needs a CUDA device"


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of the training clips; tests that use it are marked ``clips``."""
    if not CLIPS.is_dir():
        pytest.skip("needs the training clips")
    return CLIPS


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("LIPSYNC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))


@pytest.fixture(scope="session", autouse=True)
def _faces_are_read_here() -> Iterator[None]:
    """Dubs of this process do as on a single core: starting dlib in another for each takes longer than the dub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lipsync_cli.dubbing.picture_dubber.worth_it", lambda: False)
        yield


@pytest.fixture(scope="session")
def head_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still picture of a drawn head that detectors find."""
    from lipsync_cli.core.contact_sheets import save_png
    from lipsync_cli.synthetic import draw_head

    path = tmp_path_factory.mktemp("synthetic") / "head.png"
    save_png(path, draw_head())
    return path


@pytest.fixture(scope="session")
def voice_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a voice-like tone, 16 kHz mono."""
    from lipsync_cli.synthetic import write_voice

    path = tmp_path_factory.mktemp("synthetic") / "voice.wav"
    write_voice(path, 2.0)
    return path


@pytest.fixture(scope="session")
def head_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the drawn head speaking, 25 fps H.264, with its own sound."""
    path = tmp_path_factory.mktemp("synthetic") / "head.mp4"
    _write_talking_head(path)
    return path


def _write_talking_head(path: Path, frames: int = 50, rate: int = 25) -> None:
    import av
    import numpy as np

    from lipsync_cli.synthetic import draw_head, voice

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 480, 360, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for i in range(frames):
            openness = 0.1 * np.sin(np.pi * 3 * i / rate) ** 2
            frame = av.VideoFrame.from_ndarray(draw_head(openness=float(openness)), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            container.mux(video.encode(frame))
        samples = av.AudioFrame.from_ndarray(voice(frames / rate)[None], format="s16", layout="mono")
        samples.sample_rate, samples.pts = 16_000, 0
        container.mux(sound.encode(samples))
        for stream in (video, sound):
            container.mux(stream.encode(None))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 100 kB. Only root may mount one, and only on Linux; elsewhere the test is skipped."""
    mount, umount = (shutil.which(name, path="/bin:/usr/bin:/sbin") for name in ("mount", "umount"))
    if not (sys.platform == "linux" and os.geteuid() == 0 and mount and umount):
        pytest.skip("needs root on Linux to mount a tiny disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run([umount, "-l", str(disk)], check=False)


@pytest.fixture
def no_part_files(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a test must leave no partial output."""
    yield tmp_path
    assert not list(tmp_path.rglob("*.part*"))
