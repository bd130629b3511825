"""The public file of SyncNet v2, and what it says of a track."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from lipsync_cli.core.errors import ModelError
from lipsync_cli.evaluation.measure import AlignedSound, ClipSounds
from lipsync_cli.evaluation.measures.syncnet import SyncNet, load_syncnet
from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2
from lipsync_cli.synthetic import write_voice
from tests.helpers.measured_frames import context, measured_frame, noise

KEYS = Path(__file__).with_name("syncnet_v2.tsv")


@pytest.fixture(scope="module")
def network() -> SyncNetV2:
    torch.manual_seed(0)
    return SyncNetV2().eval()


def test_syncnet_has_the_public_keys_and_shapes(network: SyncNetV2) -> None:
    listed = dict(line.split("\t") for line in KEYS.read_text().splitlines())
    ours = {
        key: ",".join(map(str, value.shape)) if value.dim() else "scalar"
        for key, value in network.state_dict().items()
    }
    assert len(listed) == 102
    assert ours == listed
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(13.63e6, rel=1e-3)


def test_syncnet_loads_by_name_and_others_are_refused(network: SyncNetV2, tmp_path: Path) -> None:
    path = tmp_path / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    loaded = load_syncnet(path)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    torch.save({"something": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="102 missing"):
        load_syncnet(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        load_syncnet(path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_syncnet(tmp_path / "missing.model")


def test_syncnet_scores_a_track_with_the_sound_of_its_time(network: SyncNetV2, tmp_path: Path) -> None:
    write_voice(tmp_path / "voice.wav", 0.4)
    sound = AlignedSound(tmp_path / "voice.wav", Fraction(0))
    measure = SyncNet(context(network))
    for index in range(11):
        measure.add_on_grid(measured_frame(index, noise(index)))
    score = measure.score(sound)
    assert score is not None
    # The sound lasts ten frames, the last five of which start no window.
    assert score.windows == 5 and len(score.curve) == 31
    assert score.confidence >= 0 and score.distance > 0
    values = measure.values(ClipSounds(Fraction(0), sound))
    assert values == {
        "lse_c": score.confidence, "lse_d": score.distance, "syncnet_offset": score.av_offset,
    }  # fmt: skip
    assert measure.values(ClipSounds(Fraction(0))) == {}


def test_syncnet_track_that_is_too_short_has_no_score(network: SyncNetV2, voice_wav: Path) -> None:
    measure = SyncNet(context(network))
    for index in range(8):
        measure.add_on_grid(None if index == 4 else measured_frame(index, noise(index)))
    assert measure.score(AlignedSound(voice_wav, Fraction(0))) is None
