"""Keys change with whatever a result depends on, and damaged files count as none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import OutputError
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import NetworkOptions
from lipsync_cli.evaluation.suite import cache
from lipsync_cli.evaluation.suite.cache import dub_key, read_json, read_result, result_key, write_json, write_result
from lipsync_cli.evaluation.suite.manifest import Clip
from lipsync_cli.evaluation.suite.plan import ItemResult, SuiteItem, SuitePlan
from lipsync_cli.evaluation.suite.protocols import PROTOCOLS
from lipsync_cli.settings import DubSettings


@pytest.fixture
def plan(tmp_path: Path) -> SuitePlan:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"video")
    clips = [Clip("a", tmp_path / "a.mp4"), Clip("b", tmp_path / "b.mp4")]
    protocols = (PROTOCOLS["self"], PROTOCOLS["cross"], PROTOCOLS["original"])
    return SuitePlan(clips, protocols, tmp_path / "out", DubSettings(model="passthrough"))


def test_dub_key_changes_with_what_the_dub_depends_on(plan: SuitePlan) -> None:
    dub, other, cross, *_, control = plan.items()
    keys = [dub_key(item, plan) for item in (dub, other, cross, control)]
    shorter = replace(plan, seconds=Fraction(1))
    crisper = replace(plan, settings=DubSettings(model="passthrough", crf=10))
    keys += [dub_key(dub, shorter), dub_key(dub, crisper)]
    assert len(set(keys)) == len(keys)
    assert dub_key(control, crisper) == dub_key(control, plan)
    dub.clip.video.write_bytes(b"another video")
    assert dub_key(dub, plan) not in keys


def test_result_key_changes_with_the_networks(plan: SuitePlan, tmp_path: Path) -> None:
    item = plan.items()[0]
    without = result_key(item, plan, MetricNetworks())
    folder = MetricNetworks(NetworkOptions(folder=tmp_path))
    assert result_key(item, plan, folder) == without
    (tmp_path / "vgg16.pt").write_bytes(b"weights")
    assert result_key(item, plan, folder) != without


def test_result_key_changes_with_the_metrics_of_other_packages(
    plan: SuitePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = plan.items()[0]
    before = result_key(item, plan, MetricNetworks())
    monkeypatch.setattr(cache, "plugin_versions", lambda: ["some-metrics 2.1"])
    assert result_key(item, plan, MetricNetworks()) != before


def test_result_is_read_under_its_key_only(plan: SuitePlan, tmp_path: Path) -> None:
    item = SuiteItem(PROTOCOLS["self"], plan.clips[0], plan.clips[0].video)
    result = ItemResult.of(item, {"metrics": {"psnr": 1.0}}, strip="a.jpg")
    path = tmp_path / "out" / "self" / "a.json"
    assert read_result(path, "key") is None
    write_result(path, "key", result)
    assert read_result(path, "key") == result
    assert read_result(path, "other") is None
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_json_that_is_damaged_is_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") == {}


def test_json_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_key_of_a_moved_clip_is_another(plan: SuitePlan, tmp_path: Path) -> None:
    item = plan.items()[0]
    moved = Path(shutil.copy2(item.clip.video, tmp_path / "moved.mp4"))
    assert dub_key(replace(item, clip=Clip("a", moved), sound=moved), plan) != dub_key(item, plan)
