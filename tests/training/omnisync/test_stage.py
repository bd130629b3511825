"""OmniSync's training: encoded clips, batches of pairs, the loss, resumption to the bit, and a model that dubs."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli import hub
from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import InputError, ModelError, UsageError
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.omnisync.config import OmniSyncConfig, read_config
from lipsync_cli.engines.omnisync.nn.pixel_codec import PixelCodec
from lipsync_cli.engines.omnisync.speech_features import by_latent_frame, frame_features
from lipsync_cli.engines.protocol import CropChunk, MelSpan
from lipsync_cli.media.probe import probe
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.recipe import recipe_names
from lipsync_cli.training.omnisync.data import (
    Surroundings,
    clip_features,
    edit_batch,
    encode_clips,
    latent_frames,
    pair_clip,
    read_clips,
)
from lipsync_cli.training.omnisync.pairing import Dropout, PairingRule, Pairs, SigmaDensity
from lipsync_cli.training.omnisync.run import OmniSyncRun, train_omnisync
from lipsync_cli.training.omnisync.stage import edit_losses, load_omnisync_recipe
from tests.helpers.paths import SAMPLES
from tests.helpers.prepared_folder import write_prepared
from tests.training.omnisync.test_pairing import head

FRAMES = 32
TABLE = {
    "crop_size": 32, "width": 24, "feed_forward": 32, "layers": 2, "heads": 2, "time_frequencies": 8,
    "codec": "pixels", "pixel_fold": 8, "speech": "mel", "text_source": "none", "audio_reach": 1,
    "window": 5, "overlap": 2, "steps": 2,
}  # fmt: skip
CONFIG = OmniSyncConfig(**TABLE)
CPU = torch.device("cpu")
RECIPE = """
steps = 4
batch = 3
warmup = 1
learning_rate = 1e-2
save_every = 2
preview_steps = 1
[density]
shift = 5.0
[pairing]
threshold = 0.15
keep = "share"
[generator]
"""


def marks(number: int) -> np.ndarray:
    """Frontal heads whose mouths open at other times in each clip, so that pseudo-pairs exist."""
    return np.stack([(head(0.0, 0.1 * ((i + number) // 5 % 2)) - 250) * 0.5 + 96 for i in range(FRAMES)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("runs") / "prepared", clips, frames=FRAMES, marks=marks)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE + "\n".join(f"{key} = {json.dumps(value)}" for key, value in TABLE.items()))
    return path


def encoded(prepared: Path, folder: Path):
    clips = load_clips(prepared, "train")
    made = Surroundings(PixelCodec(8), None, CPU, torch.float32)
    encode_clips(clips, CONFIG, folder, files="", load=lambda: made)
    return clips, read_clips(clips, CONFIG, folder, files="")


def test_clips_are_encoded_once_and_heard_as_a_dub_hears_them(prepared: Path, tmp_path: Path) -> None:
    clips, made = encoded(prepared, tmp_path)
    assert [latent_frames(clip, CONFIG) for clip in clips] == [len(one.latents) for one in made] == [FRAMES] * 3
    assert made[0].latents.shape[1:] == (192, 4, 4) and not list(tmp_path.glob("*.part*"))

    def never():
        raise AssertionError

    encode_clips(clips, CONFIG, tmp_path, files="", load=never)
    with pytest.raises(AssertionError):
        encode_clips(clips, CONFIG, tmp_path, files="other encoders", load=never)
    with pytest.raises(UsageError, match="latentsync"):
        encode_clips(clips, CONFIG.model_copy(update={"template": "latentsync"}), tmp_path, files="", load=never)
    span = CropChunk((), (), MelSpan(clips[0].mel, -MEL_MARGIN), np.zeros(0, np.float32))
    first, count = CONFIG.first_heard(0), CONFIG.heard_frames(FRAMES)
    dubbed = by_latent_frame(CONFIG, frame_features(CONFIG, None, span, Fraction(0), first, count))
    assert torch.equal(clip_features(clips[0], CONFIG, None), dubbed)


def test_pairing_sees_the_landmarks_of_each_latent_frame(prepared: Path) -> None:
    clip = load_clips(prepared, "train")[0]
    four = CONFIG.model_copy(update={"codec": "wan"})
    grouped = pair_clip(clip, four)
    assert len(grouped) == latent_frames(clip, four) == 8
    single = pair_clip(clip, CONFIG)
    np.testing.assert_allclose(grouped.rigid[1], single.rigid[1:5].mean(0), atol=1e-3)


def test_batches_are_pairs_with_the_sound_of_the_target(prepared: Path, tmp_path: Path) -> None:
    _, clips = encoded(prepared, tmp_path)
    density = SigmaDensity(shift=5.0)
    pairs = Pairs([clip.pair for clip in clips], 5, PairingRule(), density)

    def batch(seed: int):
        return edit_batch(clips, pairs, density, Dropout(0.5, 0.5, 0.3), 5, seed=seed, size=24)

    one = batch(1)
    for a, b in zip(one, batch(1), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.target, batch(2).target)
    assert one.target.shape == one.source.shape == (24, 5, 192, 4, 4) and one.audio.shape == (24, 5, 6, 160)
    assert (one.target - one.source).abs().flatten(1).amax(1).min() > 1e-2, "a condition is its own target"
    high = one.sigma > 0.85
    assert torch.equal(one.aligned | one.missed, high) and one.aligned.any() and (~high).any()
    for target, audio in zip(one.target, one.audio, strict=True):
        found = [
            (i, at) for i, clip in enumerate(clips) for at in range(FRAMES - 4)
            if np.array_equal(clip.latents[at : at + 5].astype(np.float32), target.numpy())
        ]  # fmt: skip
        ((i, at),) = found
        assert np.array_equal(clips[i].audio[at : at + 5].astype(np.float32), audio.numpy())
    assert 0 < one.heard.float().mean() < 1 and 0 < one.read.float().mean() < 1


def test_the_loss_is_the_error_of_the_velocity_at_each_samples_time(prepared: Path, tmp_path: Path) -> None:
    _, clips = encoded(prepared, tmp_path)
    pairs = Pairs([clip.pair for clip in clips], 5, PairingRule(), SigmaDensity())
    batch = edit_batch(clips, pairs, SigmaDensity(), Dropout(), 5, seed=3, size=4)
    noise = Noise(7).normal(batch.target.shape)

    def exact(noisy, sigma, condition):
        expected = (1 - sigma.view(-1, 1, 1, 1, 1)) * batch.target + sigma.view(-1, 1, 1, 1, 1) * noise
        torch.testing.assert_close(noisy, expected)
        assert condition.heard is batch.heard and condition.read is batch.read and condition.source is batch.source
        return noise - batch.target

    assert edit_losses(exact, batch, None, Noise(7)).abs().max() < 1e-10
    off = edit_losses(lambda *args: exact(*args) + torch.arange(4).view(-1, 1, 1, 1, 1), batch, None, Noise(7))
    torch.testing.assert_close(off, torch.tensor([0.0, 1.0, 4.0, 9.0]))


def test_a_tiny_recipe_trains_resumes_to_the_bit_and_dubs(
    prepared: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipsync_cli.training.common.loop import Stage

    def train(runs: str, model: str):
        args = ["--prepared", prepared, "--recipe", recipe, "--runs", tmp_path / runs, "--model", tmp_path / model]
        return CliRunner().invoke(app, ["train", "omnisync", *map(str, args), "--device", "cpu"])

    done = train("whole", "whole-model")
    assert done.exit_code == 0, done.output
    assert "15.0 % of the draws" in " ".join(done.output.split())
    rows = [json.loads(line) for line in (tmp_path / "whole/omnisync/metrics.jsonl").read_text().splitlines()]
    assert rows[0].keys() >= {"step", "loss", "threshold", "aligned", "missed"}
    assert rows[0]["threshold"] == pytest.approx(SigmaDensity(shift=5.0).quantile(0.85), abs=1e-4)
    assert {path.name for path in (tmp_path / "whole/omnisync").glob("*.png")} == {
        "samples-000002.png", "samples-000004.png"
    }  # fmt: skip

    save = Stage.save

    def stop(stage: Stage) -> None:
        save(stage)
        raise KeyboardInterrupt

    monkeypatch.setattr(Stage, "save", stop)
    assert train("parts", "parts-model").exit_code != 0
    monkeypatch.setattr(Stage, "save", save)
    assert train("parts", "parts-model").exit_code == 0
    names = ("whole-model", "parts-model")
    whole, parts = ((tmp_path / name / "weights.safetensors").read_bytes() for name in names)
    assert whole == parts

    card = hub.load_card(tmp_path / "whole-model")
    assert (card.name, card.kind, [w.role for w in card.weights]) == ("whole-model", "omnisync", ["transformer"])
    out = tmp_path / "out.mp4"
    args = ["dub", SAMPLES / "portrait.mp4", SAMPLES / "speech.wav", "-o", out, "--model", tmp_path / "whole-model",
            "--preset", "realtime", "--end", "2", "--json", "-q", "--option", "steps=1"]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, args)))
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["frames_in"] == report["frames_out"] == report["frames_dubbed"] == 2 * probe(out).video.rate
    assert report["model"]["name"] == "whole-model"


def test_recipes_that_cannot_be_meant_are_explained(prepared: Path, recipe: Path, tmp_path: Path) -> None:
    assert {"paper", "miniature"} <= set(recipe_names("omnisync"))
    assert load_omnisync_recipe("paper").base == "omnisync"
    assert load_omnisync_recipe("paper").pairing.sigma(load_omnisync_recipe("paper").density) == 0.85
    with pytest.raises(UsageError, match="no training recipe"):
        load_omnisync_recipe("nothing")
    tiny = load_omnisync_recipe(str(recipe))

    def run(changed):
        return train_omnisync(OmniSyncRun(prepared, tmp_path / "runs", changed, lambda line: None), tmp_path / "m")

    with pytest.raises(UsageError, match="neither a base"):
        run(replace(tiny, generator={}))
    with pytest.raises(ModelError, match="wide"):
        run(replace(tiny, generator={**TABLE, "wide": 3}))
    with pytest.raises(InputError, match="long enough"):
        run(replace(tiny, generator={**TABLE, "window": 12}))
    recipe.write_text(recipe.read_text().replace("keep =", "kept ="))
    with pytest.raises(UsageError, match=r"pairing\.kept"):
        load_omnisync_recipe(str(recipe))


def test_the_installed_card_has_no_weights_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    card = hub.load_card("omnisync")
    sampler = read_config(card.generator, model="omnisync").sampler()
    assert (len(sampler.times()) - 1, sampler.passes()) == (46, 74), "as its CARD.md says"
    monkeypatch.setattr("lipsync_cli.engines.memory.free_bytes", lambda device: None)
    with pytest.raises(ModelError, match="no weights for 'transformer'") as error:
        load_model(card)
    assert "lipsync train omnisync" in error.value.hint
    monkeypatch.setattr("lipsync_cli.engines.memory.free_bytes", lambda device: 10**9)
    with pytest.raises(Exception, match=r"needs 5\.\d GB of memory"):
        load_model(card)
    with pytest.raises(UsageError, match="has no option 'steps'"):
        load_model(hub.load_card("passthrough"), {"steps": 3})
