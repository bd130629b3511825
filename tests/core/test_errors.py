"""Errors carry a message, a hint and the exit code of their kind."""

from __future__ import annotations

import pickle

import pytest

from lipsync_cli.core import errors
from lipsync_cli.core.errors import EXIT_INTERRUPTED, LipsyncError, UsageError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LipsyncError)]


def test_exit_code_tells_the_kinds_of_errors_apart() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert sorted(codes) == list(range(1, len(KINDS) + 1))
    assert EXIT_INTERRUPTED not in codes


def test_error_reads_as_its_message_and_then_its_hint() -> None:
    assert str(UsageError("It cannot work.", hint="Do this.")) == "It cannot work. Do this."
    assert str(UsageError("It cannot work.")) == "It cannot work."


@pytest.mark.parametrize("kind", KINDS)
def test_error_comes_whole_from_another_process(kind: type[LipsyncError]) -> None:
    again = pickle.loads(pickle.dumps(kind("What happened.", hint="What to do.")))
    assert type(again) is kind
    assert (again.message, again.hint) == ("What happened.", "What to do.")
