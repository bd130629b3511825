"""Runs of OmniSync's training: resumption to the bit, a model that dubs, recipes that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lipsync_cli import hub
from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import InputError, ModelError, UsageError
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.omnisync.config import read_config
from lipsync_cli.media.probe import probe
from lipsync_cli.training.omnisync.pairing import SigmaDensity
from lipsync_cli.training.omnisync.run import OmniSyncRun, train_omnisync
from lipsync_cli.training.omnisync.stage import OmniSyncRecipe
from tests.helpers.omnisync_clips import TABLE
from tests.helpers.paths import SAMPLES

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


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE + "\n".join(f"{key} = {json.dumps(value)}" for key, value in TABLE.items()))
    return path


def test_train_omnisync_resumes_to_the_bit_and_its_model_dubs(
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


def test_train_omnisync_explains_recipes_that_cannot_be_meant(prepared: Path, recipe: Path, tmp_path: Path) -> None:
    assert {"paper", "miniature"} <= set(OmniSyncRecipe.names())
    assert OmniSyncRecipe.load("paper").base == "omnisync"
    assert OmniSyncRecipe.load("paper").pairing.sigma(OmniSyncRecipe.load("paper").density) == 0.85
    with pytest.raises(UsageError, match="no recipe of lipsync train omnisync"):
        OmniSyncRecipe.load("nothing")
    tiny = OmniSyncRecipe.load(str(recipe))

    def run(changed):
        return train_omnisync(OmniSyncRun(prepared, tmp_path / "runs", changed, lambda line: None), tmp_path / "m")

    with pytest.raises(UsageError, match="neither a base"):
        run(tiny.replaced(generator={}))
    with pytest.raises(ModelError, match="wide"):
        run(tiny.replaced(generator={**TABLE, "wide": 3}))
    with pytest.raises(InputError, match="long enough"):
        run(tiny.replaced(generator={**TABLE, "window": 12}))
    recipe.write_text(recipe.read_text().replace("keep =", "kept ="))
    with pytest.raises(UsageError, match=r"pairing\.kept"):
        OmniSyncRecipe.load(str(recipe))


def test_installed_card_without_weights_names_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
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
