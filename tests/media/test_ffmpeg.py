from __future__ import annotations

import os
import signal
import sys

import pytest

from lipsync_cli.core.errors import EnvironmentProblem, OutputError
from lipsync_cli.media import ffmpeg as module
from lipsync_cli.media.ffmpeg import FfmpegProcess, find_ffmpeg, last_words, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright", (5, 1, 9)),
        ("ffmpeg version n9.0.2-17-g2a571b6068", (9, 0, 2)),
        ("ffmpeg version 7.1 Copyright", (7, 1)),
        ("ffmpeg version N-112233-gabcdef", (99,)),
        ("something else", ()),
    ],
)
def test_versions(text, version):
    assert parse_version(text) == version


def test_it_knows_its_encoders(each_ffmpeg):
    assert {"libx264", "ffv1", "aac"} <= each_ffmpeg.encoders
    assert "V....." not in each_ffmpeg.encoders
    assert "yuv420p10le" in each_ffmpeg.pixel_formats("libx264")
    each_ffmpeg.require_encoder("libx264")
    with pytest.raises(EnvironmentProblem, match="h265_of_the_future"):
        each_ffmpeg.require_encoder("h265_of_the_future")


def test_no_ffmpeg_at_all_is_said(monkeypatch):
    monkeypatch.setattr(module, "_candidates", lambda path: [])
    monkeypatch.setenv("PATH", "/nowhere/for/this/test")
    with pytest.raises(EnvironmentProblem, match="No ffmpeg"):
        find_ffmpeg()


def test_the_cause_is_quoted_and_not_what_follows_from_it():
    stderr = (
        "[libx264 @ 0x55e4] width not divisible by 2 (65x49)\n"
        "Error while opening encoder for output stream #0:0\n"
        "Conversion failed!\n"
    )
    assert last_words(stderr) == "width not divisible by 2 (65x49)"
    assert last_words("") == ""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_that_fails_is_quoted():
    process = FfmpegProcess(python("import sys; sys.stdin.read(); sys.stderr.write('no such thing'); sys.exit(1)"))
    with process, pytest.raises(OutputError, match="no such thing"):
        process.write(b"x" * 1000)
        process.finish()


def test_a_process_that_goes_away_does_not_hang_the_writer():
    with FfmpegProcess(python("import time; time.sleep(60)")) as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(OutputError, match="killed"):
            for _ in range(1000):
                process.write(b"x" * 65536)


def test_stderr_never_blocks_and_its_memory_is_bounded():
    code = "import sys; sys.stdin.read()\nfor i in range(50000): sys.stderr.write(f'line {i}\\n')"
    with FfmpegProcess(python(code)) as process:
        process.finish()
        assert len(process.stderr_tail) == 40
        assert process.stderr_tail[-1] == "line 49999"


def test_progress_is_counted_and_kept_out_of_the_tail():
    with FfmpegProcess(
        python("import sys; sys.stderr.write('frame=7\\nfps= 3.0\\nspeed=N/A\\nreal words\\n')")
    ) as process:
        process.finish()
    assert (process.frames, process.stderr_tail) == (7, ("real words",))


def test_a_full_disk_is_called_by_its_name():
    words = "av_interleaved_write_frame(): No space left on device"
    with (
        FfmpegProcess(python(f"import sys; sys.stdin.read(); sys.exit({words!r})")) as process,
        pytest.raises(OutputError, match="disk is full"),
    ):
        process.finish()


def test_an_executable_that_cannot_start_is_an_environment_problem(tmp_path):
    with pytest.raises(EnvironmentProblem, match="cannot be started"):
        FfmpegProcess([str(tmp_path / "nothing")])
