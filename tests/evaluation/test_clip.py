"""A clip's score: asked of one pass for several sounds, with a reason for all that is missing, as JSON."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.evaluation.clip import ClipScore, MeasuredClip, measure_clip, score_clip
from lipsync_cli.evaluation.comparison import Comparison
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import NetworkOptions
from lipsync_cli.evaluation.registry import load_networks
from tests.helpers.metric_files import write_scripts
from tests.helpers.synthetic import run_ffmpeg


@pytest.fixture(scope="module")
def networks() -> MetricNetworks:
    return load_networks()


def names(clip: MeasuredClip) -> set[str]:
    return {type(measure).__name__ for measure in clip.measures}


def test_clip_is_measured_by_what_has_all_it_needs(head_mp4: Path, networks: MetricNetworks) -> None:
    alone = measure_clip(head_mp4, Comparison(), networks)
    assert names(alone) == {"SyncExpert", "LipMotion", "Flicker", "FaceShare"}
    beside = measure_clip(head_mp4, Comparison(source=head_mp4), networks)
    assert names(beside) == names(alone) | {"Sharpness", "BorderPsnr", "FaceIdentity"}


def test_clip_without_sound_says_so(head_mp4: Path, networks: MetricNetworks, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    run_ffmpeg("-i", str(head_mp4), "-an", "-c:v", "copy", str(silent))
    score = score_clip(silent, networks=networks)
    for name in ("sync_confidence", "silence_aperture"):
        assert score.not_measured[name] == "the clip has no sound"
    assert score.not_measured["lse_c"] == "needs syncnet_v2.model; give it with --syncnet"
    assert score.series["sync_curve"] == () and len(score.series["times"]) == 50


def test_clip_is_scored_again_with_another_sound(head_mp4: Path, voice_wav: Path, networks: MetricNetworks) -> None:
    measured = measure_clip(head_mp4, Comparison(), networks)
    own, foreign = measured.score(Comparison()), measured.score(Comparison(sound=voice_wav, original=head_mp4))
    assert own.series["sync_curve"] != foreign.series["sync_curve"]
    assert own.metrics["leak"] is None and foreign.metrics["leak"] is not None
    assert measured.score(Comparison()) == own


def test_clip_counts_scored_frames_and_observes_them(head_mp4: Path, networks: MetricNetworks) -> None:
    observed: list[int] = []
    comparison = Comparison(
        scored=lambda index: 10 <= index < 20, observe=lambda frames: observed.append(frames.result.index)
    )
    score = score_clip(head_mp4, comparison, networks)
    assert (score.frames, score.scored_frames) == (50, 10)
    assert observed == list(range(10, 20))
    # Times count from the clip's first frame, scored or not.
    assert score.series["times"][0] == pytest.approx(0.4)
    assert score.not_measured["sync_confidence"] == "too few frames to measure it"


def test_clip_without_a_scored_face_is_refused(head_mp4: Path, networks: MetricNetworks) -> None:
    with pytest.raises(NoFaceError, match="None of the 0 scored frames"):
        measure_clip(head_mp4, Comparison(scored=lambda index: False), networks)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_clip_gives_features_only_where_they_are_pooled(head_mp4: Path, tmp_path: Path) -> None:
    write_scripts(tmp_path)
    networks = load_networks(NetworkOptions(folder=tmp_path))
    comparison = Comparison(source=head_mp4, scored=lambda index: index < 16)
    score = score_clip(head_mp4, comparison, networks)
    assert score.not_measured["fid"] == "over all clips only; see the summary of a protocol"
    assert measure_clip(head_mp4, comparison, networks).features() == {}
    features = measure_clip(head_mp4, comparison, networks, pooled=True).features()
    assert set(features) == {"fid_made", "fid_real", "fvd_made", "fvd_real"}


def test_score_is_json_without_what_json_cannot_hold() -> None:
    score = ClipScore(
        "a.mp4", 2, 2, {"psnr": math.inf, "ssim": None}, {"ssim": "why"}, {"apertures": (0.1, math.nan)}
    )
    document = score.to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == {
        "path": "a.mp4",
        "frames": 2,
        "scored_frames": 2,
        "metrics": {"psnr": 99.0, "ssim": None},
        "not_measured": {"ssim": "why"},
        "apertures": [0.1, None],
    }


@pytest.mark.clips
def test_clip_of_a_person_is_in_sync_and_a_delay_is_found(clips: Path, networks: MetricNetworks) -> None:
    path = clips / "clips" / "grid" / "s2_bbaf1n.mp4"
    plain, late = Comparison(original=path), Comparison(delay=Fraction(5, 25))
    measured = measure_clip(path, plain, networks)
    in_sync, delayed = measured.score(plain).metrics, measured.score(late).metrics
    assert in_sync["av_offset"] == 0 and delayed["av_offset"] == -5
    assert in_sync["sync_probability"] > 0.6 > 0.4 > delayed["sync_probability"]
    # It is the original: of course it goes with the original sound.
    assert in_sync["leak"] > 0.3
