"""The ffmpeg executable: where it is, what it can do, and one runner for a process that is fed through a pipe."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any

from lipsync_cli.core.errors import EnvironmentProblem, OutputError

OLDEST = (4, 4)
_INSTALL = "Install ffmpeg (https://ffmpeg.org) or the Python package imageio-ffmpeg, which carries one."
_PROGRESS = re.compile(r"([a-z][a-z0-9_]*)=\s*(\S*)\s*")
_NOISE = re.compile(
    r"\s+|Conversion failed|Error while (closing|filtering)|Svt\[(info|warn)|.*(Terminating|Task finished)"
)
_UNWRITTEN = re.compile(r"No space left on device|Error (writing trailer|closing file)")
_TAG = re.compile(r"^\[[^\]]*@ 0x[0-9a-f]+\]\s*")


@dataclass(frozen=True)
class Ffmpeg:
    """One executable. ``version`` is a tuple such as (5, 1, 9); builds from git count as (99,)."""

    path: Path
    version: tuple[int, ...]

    @cached_property
    def encoders(self) -> frozenset[str]:
        """Names of the encoders that were compiled in."""
        lines = _ask(self.path, "-encoders").splitlines()
        return frozenset(parts[1] for parts in map(str.split, lines) if len(parts) > 2 and len(parts[0]) == 6)

    def pixel_formats(self, encoder: str) -> tuple[str, ...]:
        """Pixel formats an encoder takes, in its own order; empty when it does not say."""
        return _pixel_formats(self.path, encoder)

    def require_encoder(self, name: str) -> None:
        """EnvironmentProblem unless the encoder was compiled in."""
        if name not in self.encoders:
            raise EnvironmentProblem(
                f"This ffmpeg ({self.path}, {self.version_text}) cannot encode with {name}.",
                hint="Choose another codec or install a full build of ffmpeg, for example with imageio-ffmpeg.",
            )

    @property
    def version_text(self) -> str:
        """The version for people."""
        return "git build" if self.version == (99,) else ".".join(map(str, self.version))


def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg on PATH, else the one that imageio-ffmpeg carries.

    Raises EnvironmentProblem when there is none, or none from version 4.4 on.
    """
    return _find(os.environ.get("PATH", ""))


@cache
def _find(path: str) -> Ffmpeg:
    too_old = ""
    for candidate in _candidates(path):
        version = _version(candidate)
        if version >= OLDEST:
            return Ffmpeg(candidate, version)
        if version:
            too_old = f" ({candidate} is {'.'.join(map(str, version))})"
    raise EnvironmentProblem(f"No ffmpeg from version 4.4 on was found{too_old}.", hint=_INSTALL)


def _candidates(path: str) -> list[Path]:
    found = []
    if on_path := shutil.which("ffmpeg", path=path):
        found.append(Path(on_path))
    try:
        import imageio_ffmpeg

        found.append(Path(imageio_ffmpeg.get_ffmpeg_exe()))
    except (ImportError, RuntimeError):
        pass  # not installed, or without an executable for this platform
    return found


def _version(path: Path) -> tuple[int, ...]:
    """Empty when the file does not run as ffmpeg."""
    try:
        return parse_version(_ask(path, "-version"))
    except (OSError, EnvironmentProblem):
        return ()


def parse_version(text: str) -> tuple[int, ...]:
    """(5, 1, 9) from "ffmpeg version 5.1.9-0+deb12u1 …"; (99,) for git builds; empty for other texts."""
    match = re.match(r"ffmpeg version (?:n?(\d+(?:\.\d+)*)|(\S+))", text)
    if match is None:
        return ()
    return tuple(map(int, match[1].split("."))) if match[1] else (99,)


def _ask(path: Path, *question: str) -> str:
    done = subprocess.run(
        [str(path), "-hide_banner", *question] if question != ("-version",) else [str(path), "-version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise EnvironmentProblem(f"{path} does not work: {last_words(done.stderr.decode(errors='replace'))}")
    return done.stdout.decode(errors="replace")


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a mebibyte where the system can: a frame then takes a few turns of both sides, not dozens."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # a user's share of such memory may be used up
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


@cache
def _pixel_formats(path: Path, encoder: str) -> tuple[str, ...]:
    match = re.search(r"Supported pixel formats:(.*)", _ask(path, "-h", f"encoder={encoder}"))
    return tuple(match[1].split()) if match else ()


def last_words(stderr: str | Sequence[str]) -> str:
    """The line of ffmpeg's stderr that says what went wrong, without addresses; empty if it said nothing.

    ffmpeg names the cause first and then what failed because of it, so the first line of the last few counts.
    """
    lines = stderr.splitlines() if isinstance(stderr, str) else list(stderr)
    telling = [_TAG.sub("", line).strip() for line in lines if line.strip() and not _NOISE.match(line)]
    return telling[0] if telling else ""


class FfmpegProcess:
    """A running ffmpeg that is fed through its stdin. A context manager: leaving it on an error kills the process.

    ``frames`` counts the video frames ffmpeg says it has written (give ``-progress pipe:2``). stderr is read by a
    thread, so that it never blocks; its last 40 lines are kept. The process has a session of its own: an
    interrupt at the terminal reaches only us, and we decide what becomes of the file.
    """

    def __init__(self, command: Sequence[str], *, stdout: int | None = subprocess.DEVNULL) -> None:
        self.frames = 0
        self._tail: deque[str] = deque(maxlen=40)
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentProblem(f"{command[0]} cannot be started: {error.strerror}.", hint=_INSTALL) from error
        _widen(self._process.stdin)
        self._drain = threading.Thread(target=self._read_stderr, name="lipsync-ffmpeg-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of stderr, progress reports left out."""
        return tuple(self._tail)

    def write(self, data: bytes | memoryview) -> None:
        """Feed all of ``data``; OutputError when the process has gone away."""
        pipe: Any = self._process.stdin
        view = memoryview(data)
        try:
            while view:
                view = view[pipe.write(view) :]
        except (BrokenPipeError, ValueError) as error:
            self._end()
            raise self.failure() from error

    def finish(self) -> None:
        """Close the pipe and wait; OutputError when ffmpeg failed."""
        self._end()
        # Some versions end with 0 although the last bytes could not be written.
        if self._process.returncode or any(_UNWRITTEN.search(line) for line in self._tail):
            raise self.failure()

    def kill(self) -> None:
        """End the process at once. Safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with suppress(OSError):  # nobody may be reading any more
                pipe.close()
        self._process.wait()
        self._drain.join()

    def __enter__(self) -> FfmpegProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def failure(self) -> OutputError:
        """Why the process ended, as an error to raise."""
        tail, code = "\n".join(self._tail), self._process.returncode
        if "No space left on device" in tail:
            return OutputError(
                "The disk is full: ffmpeg found no space left for the output.",
                hint="Free some space, or write to another disk with -o.",
            )
        if code is not None and code < 0:
            return OutputError(
                f"ffmpeg was killed (signal {-code}) before it had written everything.",
                hint="If the machine ran out of memory, try a smaller picture or a faster --preset.",
            )
        words = last_words(tail) or f"exit status {code}"
        return OutputError(f"ffmpeg could not write the output: {words}", hint="Another codec or container may work.")

    @property
    def reader_left(self) -> bool:
        """Whether ffmpeg ended because whoever read its output had closed it."""
        return "Broken pipe" in "\n".join(self._tail)

    def _read_stderr(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        with pipe:
            for raw in pipe:
                line = raw.decode(errors="replace").rstrip()
                progress = _PROGRESS.fullmatch(line)
                if progress is None:
                    self._tail.append(line[:500])
                elif progress[1] == "frame" and progress[2].isdigit():
                    self.frames = int(progress[2])
