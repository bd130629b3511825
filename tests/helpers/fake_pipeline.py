"""A stand-in for the dub, so that the command line is tested without one; requests are planned as they really are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.plan import DubPlan
from lipsync_cli.dubbing.report import DubReport
from tests.dubbing.test_report import make_report


class FakePipeline:
    """Remembers the plan; raises ``error`` if there is one, else reports."""

    def __init__(self) -> None:
        self.plan: DubPlan | None = None
        self.error: BaseException | None = None
        self.act: Callable[[DubPlan], None] = lambda plan: None

    def dub(
        self,
        plan: DubPlan,
        model: LoadedModel | None = None,
        on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> DubReport:
        self.plan = plan
        on_progress(1, 2)
        self.act(plan)
        if self.error is not None:
            raise self.error
        return make_report()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
        monkeypatch.setattr(pipeline, "dub", self.dub)
        return self
