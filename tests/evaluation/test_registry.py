"""Which metrics there are: those of this package in the order of tables, and those that others install."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.evaluation import registry
from tests.helpers.plugins import installed, on_path, write_metadata

TABLE = (
    "sync_confidence", "sync_distance", "sync_probability", "av_offset", "lse_c", "lse_d", "syncnet_offset",
    "stable_sync", "stable_sync_confidence", "stable_sync_offset",
    "aperture_corr", "aperture_corr_0", "aperture_offset", "aperture_spread", "lmd", "silence_aperture", "leak",
    "psnr", "ssim", "lpips", "fid", "fvd", "sharpness_ratio", "flicker", "flicker_ratio", "border_psnr",
    "csim", "face_share",
)  # fmt: skip


@pytest.fixture
def plug_in(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Installs a package with a module of this text, whose entry point names ``plugged:Plugged``."""

    def install(text: str) -> None:
        write_metadata(tmp_path, "some-metrics", "2.1", {registry.GROUP: {"plugged": "plugged:Plugged"}})
        (tmp_path / "plugged.py").write_text(text)

    with on_path(tmp_path):
        yield install
    sys.modules.pop("plugged", None)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[None]:
    """The documentation's example is installed."""
    with installed("metric", tmp_path):
        yield


def test_metrics_are_in_the_order_of_tables() -> None:
    assert tuple(registry.metrics()) == TABLE
    assert registry.plugin_versions() == []


def test_network_roles_are_named_once() -> None:
    names = [role.name for role in registry.network_roles()]
    assert names == ["expert", "syncnet", "stable_sync", "lpips", "inception", "i3d"]


def test_example_metric_is_computed_by_lipsync_eval(example: None, head_mp4: Path) -> None:
    command = ["eval", str(head_mp4), "--source", str(head_mp4)]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["mouth_brightness"] == 0
    table = CliRunner().invoke(app, command).stdout
    assert "Mouth brightness     0.0     levels by which the mouth is brighter than the source's" in table
    assert list(registry.metrics()) == [*TABLE[:-2], "mouth_brightness", *TABLE[-2:]]
    assert registry.plugin_versions() == ["lipsync-mouth-brightness 1.0"]


def test_example_metric_says_what_it_needs(example: None, head_mp4: Path) -> None:
    done = CliRunner().invoke(app, ["eval", str(head_mp4), "--json"])
    result = json.loads(done.stdout)
    assert result["metrics"]["mouth_brightness"] is None
    assert result["not_measured"]["mouth_brightness"] == "needs the clip before dubbing; give it with --source"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import nothing_of_that_name", "cannot be loaded: ModuleNotFoundError"),
        ("Plugged = 3", "is no Measure but 3"),
        (
            "from lipsync_cli.evaluation.measures.psnr import Psnr\nclass Plugged(Psnr): pass",
            "takes the name 'psnr', which another has",
        ),
        (
            "from lipsync_cli.evaluation.measure import Measure\n"
            "class Plugged(Measure):\n    metrics = ()\n    series_names = ('times',)",
            "takes the name 'times', which another has",
        ),
    ],
)
def test_plugin_that_is_broken_names_its_package(text: str, fault: str, plug_in: Callable[[str], None]) -> None:
    plug_in(text)
    with pytest.raises(EnvironmentProblem, match=fault) as raised:
        registry.metrics()
    assert "plugged of the package some-metrics 2.1" in raised.value.message
    assert "uninstall" in raised.value.hint
