"""What contract tests share."""

from __future__ import annotations

import pytest

from lipsync_cli.evaluation.metric_networks import MetricNetworks
from tests.helpers.metric_files import write_networks


@pytest.fixture(scope="session")
def metric_networks(tmp_path_factory: pytest.TempPathFactory) -> MetricNetworks:
    """A small network for every role of this package."""
    return MetricNetworks(write_networks(tmp_path_factory.mktemp("networks")))
