"""The processor's name, from wherever the system keeps it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lipsync_cli.core.machine import cpu_name


def test_cpu_name_is_what_the_system_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor : 0\nmodel name\t: Fast One @ 3 GHz\n")
    assert cpu_name() == "Fast One @ 3 GHz"


def test_cpu_name_where_the_list_names_none_is_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor : 0\nBogoMIPS : 50\n")
    assert cpu_name() == platform.machine()


def test_cpu_name_without_a_list_is_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu_name() == "arm"
