"""Every measure of this package keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lipsync_cli.evaluation.measure import Measure
from lipsync_cli.evaluation.registry import BUILT_IN, measures
from tests.contract.metric_contract import MetricContract
from tests.helpers.plugins import installed


class TestMetrics(MetricContract):
    @pytest.fixture(params=BUILT_IN, ids=lambda measure: measure.__name__)
    def measure(self, request: pytest.FixtureRequest) -> type[Measure]:
        return request.param


class TestExampleMetric(MetricContract):
    """The one that the documentation shows keeps it, too."""

    @pytest.fixture
    def measure(self, tmp_path: Path) -> Iterator[type[Measure]]:
        with installed("metric", tmp_path):
            yield measures()[-1]
