"""Every measure of this package keeps the contract."""

from __future__ import annotations

import importlib

import pytest

from lipsync_cli.evaluation.measure import Measure
from lipsync_cli.evaluation.registry import BUILT_IN
from tests.contract.metric_contract import MetricContract
from tests.helpers.paths import ROOT


class TestMetrics(MetricContract):
    @pytest.fixture(params=BUILT_IN, ids=lambda measure: measure.__name__)
    def measure(self, request: pytest.FixtureRequest) -> type[Measure]:
        return request.param


class TestExampleMetric(MetricContract):
    """The one that the documentation shows keeps it, too."""

    @pytest.fixture
    def measure(self, monkeypatch: pytest.MonkeyPatch) -> type[Measure]:
        monkeypatch.syspath_prepend(ROOT / "docs" / "examples" / "metric")
        return importlib.import_module("mouth_brightness").MouthBrightness
