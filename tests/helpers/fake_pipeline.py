"""A stand-in for the pipeline, so that the command line is tested without one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import lipsync_cli.dubbing
from lipsync_cli.dubbing.report import DubReport, LedgerEntry
from lipsync_cli.dubbing.request import DubRequest
from tests.dubbing.test_report import make_report


class FakePipeline:
    """Remembers the request; raises ``error`` if there is one, else reports."""

    def __init__(self) -> None:
        self.request: DubRequest | None = None
        self.error: BaseException | None = None
        self.act: Callable[[DubRequest], None] = lambda request: None

    def dub(self, request: DubRequest, on_progress: Callable[[int, int | None], None]) -> DubReport:
        self.request = request
        on_progress(1, 2)
        self.act(request)
        if self.error is not None:
            raise self.error
        return make_report()

    def explain(self, request: DubRequest) -> dict[str, Any]:
        self.request = request
        return {"ledger": [LedgerEntry("track", 3, 0.12)], "stages": ["decode", "track", "encode"], "options": {}}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
        module = ModuleType("lipsync_cli.dubbing.pipeline")
        module.dub, module.explain = self.dub, self.explain  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lipsync_cli.dubbing.pipeline", module)
        monkeypatch.setattr(lipsync_cli.dubbing, "pipeline", module, raising=False)
        return self
