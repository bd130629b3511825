"""An evaluation of many clips loads everything once, scores what it should, and does nothing twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.report import SpanEntry
from lipsync_cli.evaluation.measures.sync_mini import EXPERT
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import EmbeddedNetwork, NetworkFile, NetworkOptions
from lipsync_cli.evaluation.registry import load_networks
from lipsync_cli.evaluation.suite import runner
from lipsync_cli.evaluation.suite.manifest import read_manifest
from lipsync_cli.evaluation.suite.plan import ItemResult, SuitePlan
from lipsync_cli.evaluation.suite.pooled import pool_features
from lipsync_cli.evaluation.suite.protocols import PROTOCOLS
from lipsync_cli.evaluation.suite.runner import SuiteRunner, scored_frames
from lipsync_cli.settings import resolve_settings
from tests.helpers.metric_files import write_scripts
from tests.helpers.synthetic import run_ffmpeg
from tests.helpers.tiny_mini import make_folder

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def plan(head_mp4: Path, tmp_path_factory: pytest.TempPathFactory) -> SuitePlan:
    """Two protocols and a control over two heads and a clip without one, dubbed by a tiny model."""
    here = tmp_path_factory.mktemp("suite")
    (here / "clips").mkdir()
    for name in ("a", "b"):
        shutil.copy(head_mp4, here / "clips" / f"{name}.mp4")
    grey = ("-f", "lavfi", "-i", "color=gray:s=160x120:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1")
    run_ffmpeg(*grey, "-c:a", "aac", str(here / "clips" / "none.mp4"))
    settings, *_ = resolve_settings(
        "realtime", {"model": str(make_folder(here / "tiny")), "reference_frames": 5, "device": "cpu"}
    )
    protocols = tuple(PROTOCOLS[name] for name in ("self", "cross", "shifted", "foreign"))
    clips = read_manifest(here / "clips")
    return SuitePlan(clips, protocols, here / "out", settings, seconds=Fraction(1))


@pytest.fixture(scope="module")
def loads() -> Iterator[Counter[str]]:
    """How often the dubbing model and each metric network was loaded."""
    counts: Counter[str] = Counter()
    make, embedded, file = pipeline.load_model_of, EmbeddedNetwork.load, NetworkFile.load

    def counted_make(*args, **options):
        counts["model"] += 1
        return make(*args, **options)

    def counted(load):
        def loaded(role, options):
            counts[role.name] += 1
            return load(role, options)

        return loaded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "load_model_of", counted_make)
        patch.setattr(EmbeddedNetwork, "load", counted(embedded))
        patch.setattr(NetworkFile, "load", counted(file))
        yield counts


@pytest.fixture(scope="module")
def networks(loads: Counter[str], tmp_path_factory: pytest.TempPathFactory) -> MetricNetworks:
    folder = tmp_path_factory.mktemp("networks")
    write_scripts(folder)
    return load_networks(NetworkOptions(folder=folder))


@pytest.fixture(scope="module")
def results(plan: SuitePlan, networks: MetricNetworks) -> dict[tuple[str, str], ItemResult]:
    return {(result.protocol, result.name): result for result in SuiteRunner(plan, networks).run()}


def test_run_loads_everything_once(
    results: dict[tuple[str, str], ItemResult], loads: Counter[str], networks: MetricNetworks
) -> None:
    assert sum(result.score is not None for result in results.values()) == 8
    assert loads == {"model": 1, "expert": 1, "lpips": 1, "inception": 1, "i3d": 1}
    assert networks.has(EXPERT)


def test_run_scores_dubs_behind_their_references(results: dict[tuple[str, str], ItemResult]) -> None:
    score = results["self", "a"].score
    assert (score["frames"], score["scored_frames"]) == (25, 20)
    assert score["metrics"]["psnr"] is not None and score["metrics"]["border_psnr"] > 40
    assert results["self", "a"].dub["frames_dubbed"] == 25
    foreign = results["cross", "a"]
    assert foreign.score["metrics"]["psnr"] is None and foreign.score["metrics"]["leak"] is not None
    assert Path(foreign.sound).name == "b.mp4"


def test_run_of_controls_dubs_nothing(results: dict[tuple[str, str], ItemResult], plan: SuitePlan) -> None:
    late, foreign = results["shifted", "a"], results["foreign", "a"]
    assert late.dub == foreign.dub == {} and late.strip == ""
    assert late.score["frames"] == 50 and late.score["scored_frames"] == 25
    assert late.score["metrics"]["leak"] is None and foreign.score["metrics"]["leak"] is not None
    assert not list((plan.folder / "shifted").glob("*.mp4"))


def test_run_goes_on_behind_a_clip_that_fails(results: dict[tuple[str, str], ItemResult]) -> None:
    assert "No face" in results["self", "none"].error and results["self", "none"].score is None
    assert "face that can be measured" in results["foreign", "none"].error


def test_run_leaves_features_of_dubs(results: dict[tuple[str, str], ItemResult], plan: SuitePlan) -> None:
    pooled = pool_features([key for key, result in results.items() if result.score], plan.folder)
    assert set(pooled) == {"self", "cross"}
    assert all(np.isfinite(value) and value >= 0 for value in pooled["self"].values())
    assert set(pooled["self"]) == {"fid", "fvd"}


def test_run_again_takes_what_is_there(
    results: dict[tuple[str, str], ItemResult],
    plan: SuitePlan,
    networks: MetricNetworks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "measure_clip", None)
    cached: list[bool] = []
    again = list(SuiteRunner(plan, networks).run(lambda item, stored: cached.append(stored)))
    assert again == list(results.values())
    assert all(cached) and len(cached) == 12


def test_run_scores_anew_without_dubbing_anew(
    results: dict[tuple[str, str], ItemResult],
    plan: SuitePlan,
    networks: MetricNetworks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan.path(plan.items()[0], ".json").write_text("{}")
    monkeypatch.setattr(pipeline, "dub", None)
    (first, *_) = SuiteRunner(plan, networks).run()
    assert first == results["self", "a"]


def test_scored_frames_leave_out_references_and_untouched_ones() -> None:
    spans = [SpanEntry(0.0, 2.0, "dubbed", 0), SpanEntry(2.0, 3.0, "missing"), SpanEntry(3.0, 5.0, "dubbed", 0)]
    counts = scored_frames(spans, Fraction(25), 25)
    assert [index for index in range(130) if counts(index)] == [*range(25, 50), *range(100, 125)]
