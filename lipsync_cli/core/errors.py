"""Errors a user can act on, and the exit code each kind ends the process with.

A message says what happened with the value concerned, then what was expected; ``hint`` says what to do next.
"""

from __future__ import annotations

EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_NO_FACE = 4
EXIT_MODEL = 5
EXIT_ENVIRONMENT = 6
EXIT_OUTPUT = 7
EXIT_INTERRUPTED = 130


class LipsyncError(Exception):
    """Base of every error that is shown to the user as one sentence instead of a traceback.

    ``exit_code`` belongs to the class, ``hint`` to the instance.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(LipsyncError):
    """A combination of options, or an option's value, that cannot work."""

    exit_code = EXIT_USAGE


class InputError(LipsyncError):
    """An input file that is missing, of the wrong kind, or that cannot be decoded."""

    exit_code = EXIT_INPUT


class NoFaceError(LipsyncError):
    """Nobody to dub in the part of the video that was read."""

    exit_code = EXIT_NO_FACE


class ModelError(LipsyncError):
    """Weights that are missing, corrupt or of another version than the code."""

    exit_code = EXIT_MODEL


class EnvironmentProblem(LipsyncError):
    """The machine lacks something: ffmpeg, a codec, a device, memory."""

    exit_code = EXIT_ENVIRONMENT


class OutputError(LipsyncError):
    """The result cannot be written: permissions, space, an encoder that failed."""

    exit_code = EXIT_OUTPUT
