"""The command as a whole: help, versions, exit codes, and what goes to which stream."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lipsync_cli import __version__
from lipsync_cli.cli import app as application
from lipsync_cli.cli.app import COMMANDS, app, load_command
from lipsync_cli.cli.failure import describe, wants
from lipsync_cli.core import errors

HEAVY = {"torch", "av", "cv2", "numpy", "scipy", "librosa", "pydantic", "dlib", "safetensors"}


def lipsync(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lipsync_cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)


def modules_after(*args: str) -> set[str]:
    code = (
        "import sys\nfrom lipsync_cli.cli.app import app\n"
        "try: app(args=sys.argv[1:], prog_name='lipsync')\nexcept SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("args", [("--help",), ("--version",), ()])
def test_help_is_quick_because_it_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    assert not modules_after(*args) & HEAVY


@pytest.mark.parametrize("command", ["dub", "presets", "models"])
def test_a_commands_help_needs_nothing_but_the_settings(command: str) -> None:
    assert not modules_after(command, "--help") & (HEAVY - {"pydantic"})


def test_the_version() -> None:
    done = lipsync("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lipsync {__version__}\n", "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_of_commands_says_what_the_commands_say(name: str) -> None:
    command = load_command(name)
    assert command.help.splitlines()[0] == COMMANDS[name][1]
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0


def test_a_mistyped_command_is_suggested() -> None:
    done = lipsync("dubb")
    assert done.returncode == 2
    assert "Did you mean 'dub'" in done.stderr
    assert done.stdout == ""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """A command ``fail`` that raises what is put into the returned dictionary."""
    holder: dict[str, BaseException] = {}
    failing_app = typer.Typer()

    @failing_app.command()
    def fail(as_json: bool = typer.Option(False, "--json"), debug: bool = typer.Option(False, "--debug")) -> None:
        raise holder["error"]

    monkeypatch.setitem(application.COMMANDS, "fail", ("tests.fail", "Fails."))
    monkeypatch.setattr(application, "load_command", lambda name: typer.main.get_command(failing_app))
    return holder


CASES = [
    (errors.UsageError("A.", hint="B."), 2),
    (errors.InputError("A.", hint="B."), 3),
    (errors.NoFaceError("A.", hint="B."), 4),
    (errors.ModelError("A.", hint="B."), 5),
    (errors.EnvironmentProblem("A.", hint="B."), 6),
    (errors.OutputError("A.", hint="B."), 7),
]


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda case: type(case).__name__)
def test_every_error_has_its_exit_code_and_sentence(failing: dict, error: Exception, code: int) -> None:
    failing["error"] = error
    result = CliRunner().invoke(app, ["fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "Error: A.\nB.\n")


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda case: type(case).__name__)
def test_with_json_an_error_is_a_document_too(failing: dict, error: Exception, code: int) -> None:
    failing["error"] = error
    result = CliRunner().invoke(app, ["fail", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout) == {"schema": 1, "error": {"code": code, "message": "A.", "hint": "B."}}
    assert "Error: A." in result.stderr


def test_a_bug_is_called_one_and_debug_shows_where(failing: dict) -> None:
    failing["error"] = ZeroDivisionError("by [zero]")
    result = CliRunner().invoke(app, ["fail"])
    assert result.exit_code == 1
    assert "This is a bug in lipsync (ZeroDivisionError: by [zero])." in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    result = CliRunner().invoke(app, ["fail", "--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_an_interrupt_ends_with_130(failing: dict) -> None:
    failing["error"] = KeyboardInterrupt()
    result = CliRunner().invoke(app, ["fail", "--json"])
    assert result.exit_code == 130
    assert json.loads(result.stdout)["error"]["code"] == 130


def test_a_reader_that_left_is_no_failure(failing: dict) -> None:
    failing["error"] = BrokenPipeError()
    result = CliRunner().invoke(app, ["fail"])
    assert (result.exit_code, result.stderr) == (0, "")


def test_usage_errors_of_the_parser_are_documents_too() -> None:
    result = CliRunner().invoke(app, ["dub", "--nonsense", "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == 2
    assert "--nonsense" in result.stderr


def test_a_closed_pipe_leaves_no_noise() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lipsync_cli", "presets", "show", "quality", "--resolved"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_full_disks_and_memory_have_codes_of_their_own() -> None:
    assert describe(OSError(errno.ENOSPC, "No space left", "x.mp4")).code == 7
    assert describe(MemoryError()).code == 6
    assert describe(type("OutOfMemoryError", (RuntimeError,), {})()).code == 6
    assert describe(OSError(errno.EIO, "I/O")).code == 1


def test_flags_after_a_double_dash_are_names() -> None:
    assert wants(("dub", "--json"), "--json")
    assert not wants(("dub", "--", "--json"), "--json")


@pytest.mark.parametrize(
    ("words", "expected"),
    [("lipsync ", "dub"), ("lipsync dub --preset r", "realtime"), ("lipsync models show pass", "passthrough"),
     ("lipsync dub --silence ", "close"), ("lipsync presets show qu", "quality")],
)  # fmt: skip
def test_the_shell_completes(words: str, expected: str) -> None:
    env = {"_LIPSYNC_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    code = "import sys; sys.argv=['lipsync']; from lipsync_cli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    assert expected in done.stdout, done.stderr


def test_threads_outside_of_the_networks_are_few_unless_asked_for() -> None:
    code = """if True:
        import os, sys
        from lipsync_cli.__main__ import main
        sys.argv = ["lipsync", "--version"]
        try: main()
        except SystemExit: pass
        print(os.environ["OPENBLAS_NUM_THREADS"], os.environ["OPENCV_FOR_THREADS_NUM"])
        import cv2
        print(cv2.getNumThreads())"""
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"} | {"OPENCV_FOR_THREADS_NUM": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.splitlines()[-2:] == ["1 3", "3"]


SLEEPER = """
import pathlib, sys, time, typer
from lipsync_cli.__main__ import main
from lipsync_cli.cli import app as application
part = pathlib.Path(sys.argv.pop())
other = typer.Typer()

@other.command()
def dub() -> None:
    try:
        part.touch()
        print("ready", flush=True)
        time.sleep(60)
    finally:
        part.unlink()

application.load_command = lambda name: typer.main.get_command(other)
sys.argv = ["lipsync", "dub"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_unwind_and_end_with_130(number: signal.Signals, tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    command = [sys.executable, "-c", SLEEPER, str(part)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        assert part.exists()
        process.send_signal(number)
        assert process.stderr.read() == "Error: Interrupted.\n"
    assert process.returncode == 130
    assert not part.exists()


def test_any_locale_will_do() -> None:
    done = lipsync("presets", "show", "quality", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "1\\u201330" in done.stdout
