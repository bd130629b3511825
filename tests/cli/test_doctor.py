"""``lipsync doctor``: rows, colours aside, and the exit code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.cli.doctor import checks
from lipsync_cli.cli.doctor import command as doctor
from lipsync_cli.cli.doctor import smoke_test as rehearsal
from lipsync_cli.cli.doctor.checks import CheckRow, guarded_rows
from lipsync_cli.core.errors import EnvironmentProblem
from tests.helpers.fake_pipeline import FakePipeline


def fails() -> CheckRow:
    raise EnvironmentProblem("No ffmpeg was found.", hint="Install it.")


def breaks() -> CheckRow:
    raise ImportError("no module")


def test_a_check_that_breaks_is_a_row_and_not_the_end() -> None:
    rows = list(guarded_rows({"a": fails, "b": breaks, "c": lambda: CheckRow("c", "ok", "fine")}))
    assert rows[0] == CheckRow("a", "fail", "No ffmpeg was found.", "Install it.")
    assert (rows[1].status, rows[1].detail) == ("fail", "ImportError: no module")
    assert rows[2].status == "ok"


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 6)])
def test_only_failures_fail(monkeypatch: pytest.MonkeyPatch, status: str, code: int) -> None:
    row = CheckRow("thing", status, "as it is", "" if status == "ok" else "Mend it.")  # type: ignore[arg-type]
    monkeypatch.setattr(doctor, "CHECKS", {"thing": lambda: row})
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    assert result.stdout.split()[:2] == [status, "thing"]
    assert ("Mend it." in result.stdout) == (status != "ok")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"], document["checks"][0]["status"]) == (code, code == 0, status)


@pytest.mark.parametrize(
    "name", ["python", "packages", "device", "bfloat16", "ffmpeg", "codecs", "dlib", "settings", "temporary folder"]
)
def test_this_environment_is_sound(name: str) -> None:
    (row,) = guarded_rows({name: doctor.CHECKS[name]})
    assert row.name == name
    assert row.status in ("ok", "warn"), row


def test_a_mistyped_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSYNC_CFR", "3")
    row = checks.settings()
    assert (row.status, row.fix) == ("warn", "Did you mean 'LIPSYNC_CRF'?")


def test_the_rehearsal_asks_for_a_whole_dub(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = FakePipeline().install(monkeypatch)
    seen = []
    pipeline.act = lambda plan: seen.append((plan.video.path.is_file(), plan.audio.path.is_file()))
    assert rehearsal.rehearsal().status == "ok"
    assert seen == [(True, True)]
    assert pipeline.plan is not None
    assert pipeline.plan.picture.card.name == "passthrough"
