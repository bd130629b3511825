"""Model folders: loaded exactly, whatever the container; wrong files are named; text is read once and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.engines import text_context
from lipsync_cli.engines.convert import convert
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.lip_forcing.config import read_config
from lipsync_cli.engines.lip_forcing.generator import LipForcing
from lipsync_cli.engines.lip_forcing.weight_roles import roles
from lipsync_cli.engines.loading import load_model
from tests.engines.lip_forcing.test_generator import at_rate, make_crops, run
from tests.helpers.narrow_lip_forcing import CONFIG, CPU, TABLE, make_folder, make_networks

RANDOM = Placement(random_weights=True)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return np.stack(run(LipForcing(make_networks(), CONFIG), make_crops(9), at_rate(9)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_folder_speaks_as_the_networks_it_was_made_of(tmp_path, expected, suffix):
    generator = load_model(hub.load_card(make_folder(tmp_path / "narrow", suffix=suffix)))
    assert generator.spec.name == "narrow"
    pictures = np.stack(run(generator, make_crops(9), at_rate(9)))
    np.testing.assert_allclose(pictures, expected, atol=1e-5)


def test_the_tiny_encoder_can_stand_in_for_the_full_one(tmp_path, expected):
    card = hub.load_card(make_folder(tmp_path / "m"))
    (tmp_path / "m" / "wan-vae.pth").unlink()
    generator = load_model(card, {"encoder": "taew"})
    assert generator.spec.details["encoder"] == "taew"
    pictures = np.stack(run(generator, make_crops(9), at_rate(9)))
    assert pictures.shape == expected.shape and not np.allclose(pictures, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("role", "key", "said"),
    [
        ("transformer", "audio_cond_projs.0.bias", "transformer.pth does not fit the network: 1 missing"),
        ("wan-vae", "decoder.conv_out.weight", "wan-vae.pth does not fit the network: 1 missing"),
        ("taew", "decoder.22.bias", "1 missing (decoder.22.bias)"),
        ("speech", "wav2vec2.encoder.layer_norm.bias", "1 missing (encoder.layer_norm.bias)"),
        ("text", "context", "holds no weights"),
    ],
)
def test_a_file_that_lacks_something_is_named(tmp_path, role, key, said):
    folder = make_folder(tmp_path / "m", change=lambda r, tensors: tensors.pop(key) if r == role else None)
    with pytest.raises(ModelError) as error:
        load_model(hub.load_card(folder))
    assert said in str(error.value)


def test_a_transformer_of_another_size_is_named(tmp_path):
    folder = make_folder(tmp_path / "m")
    card = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(card.replace("feed_forward = 32", "feed_forward = 40"))
    with pytest.raises(
        ModelError, match=r"of another shape \(blocks.0.ffn.0.weight \[32, 24\] instead of \[40, 24\]"
    ):
        load_model(hub.load_card(folder))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("heads = 5", "wrong at generator: Value error, width 24 must be 5 heads"),
        ("schedule = [0.769, 0.999]", "the schedule must fall"),
        ("colour = 1", "wrong at colour"),
        ("crop_size = 500", "wrong at crop_size"),
    ],
)
def test_a_table_that_cannot_work_is_named(line, said):
    key, value = line.split(" = ")
    with pytest.raises(ModelError) as error:
        read_config({**TABLE, key: __import__("json").loads(value)}, model="m")
    assert said in str(error.value)


def test_the_cards_of_both_sizes_describe_the_published_networks():
    from lipsync_cli.nn.wan.config import LARGE, SMALL

    cards = {name: hub.load_card(name) for name in ("lip-forcing-14b", "lip-forcing-1.3b")}
    configs = {name: read_config(card.generator, model=name) for name, card in cards.items()}
    assert configs["lip-forcing-14b"].transformer() == LARGE
    assert configs["lip-forcing-1.3b"].transformer() == SMALL
    for config in configs.values():
        assert (config.first_chunk_frames, config.chunk_frames, config.tokens) == (9, 12, 1024)
    files = {weights.role: weights for weights in cards["lip-forcing-14b"].weights}
    assert files["transformer"].bytes == 28_588_528_943
    assert set(files) == {"transformer", "wan-vae", "taew", "speech", "umt5", "tokenizer"}


def test_the_small_model_says_that_its_transformer_is_not_published(monkeypatch):
    with pytest.raises(ModelError) as error:
        load_model(hub.load_card("lip-forcing-1.3b"))
    assert "has no weights for 'transformer'" in str(error.value)
    assert "lipsync models convert FILE" in str(error.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_converted_checkpoint_is_a_model_folder_of_its_own(tmp_path, expected, wrapped):
    folder = make_folder(tmp_path / "narrow")
    state = make_networks().transformer.state_dict()
    content = {"model": {"net": {f"_core.{key}": value for key, value in state.items()}}} if wrapped else state
    torch.save(content, tmp_path / "step500.pth")
    weights = convert(hub.load_card(folder), tmp_path / "step500.pth", tmp_path / "mine")
    assert weights.file == "transformer.safetensors"
    card = hub.load_card(tmp_path / "mine")
    assert card.generator == hub.load_card(folder).generator
    assert [check.state for check in hub.verify(card)] == ["ok"] * 5
    pictures = np.stack(run(load_model(card), make_crops(9), at_rate(9)))
    np.testing.assert_allclose(pictures, expected, atol=1e-5)


def test_a_checkpoint_that_does_not_fit_is_not_converted(tmp_path):
    torch.save({"blocks.0.modulation": torch.zeros(1, 6, 24)}, tmp_path / "part.pth")
    with pytest.raises(ModelError, match=r"missing \(patch_embedding.weight"):
        convert(hub.load_card(make_folder(tmp_path / "m")), tmp_path / "part.pth", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def with_text_encoder(folder: Path) -> hub.ModelCard:
    """The card of a narrow model that has the text encoder's files instead of its output."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    table = {**TABLE, "text_width": 64, "text_layers": 1, "text_feed_forward": 8, "text_vocabulary": 9}
    make_folder(folder, table=table)
    config = read_config(table, model="m")
    torch.manual_seed(0)
    encoder = roles(config)["umt5"].create().state_dict()
    encoder.pop("encoder.embed_tokens.weight")
    torch.save(encoder, folder / "umt5.pth")
    tokenizer = Tokenizer(WordLevel({"a": 3, "person": 4, "talking": 5, "?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    card = hub.load_card(folder)
    files = [
        hub.Weights(role=role, file=name, sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest(),
                    bytes=(folder / name).stat().st_size, licence="none")
        for role, name in (("umt5", "umt5.pth"), ("tokenizer", "tokenizer.json"))
    ]  # fmt: skip
    kept = [weights for weights in card.weights if weights.role != "text"]
    return card.model_copy(update={"weights": (*kept, *files)})


def test_the_prompt_is_read_once_and_kept(tmp_path, monkeypatch):
    card = with_text_encoder(tmp_path / "m")
    config = read_config(card.generator, model="m")
    context = text_context.text_context(card, config, device=CPU)
    assert context.shape == (1, 4, 64)
    assert context[:, :3].any() and not context[:, 3:].any()
    assert text_context.text_cache(card, config).is_file()
    monkeypatch.setattr(text_context, "encode_text", lambda *args, **options: pytest.fail("read again"))
    assert torch.equal(text_context.text_context(card, config, device=CPU), context)
    assert load_model(card).spec.name == "m"


def test_another_prompt_is_read_anew(tmp_path):
    card = with_text_encoder(tmp_path / "m")
    config = read_config(card.generator, model="m")
    other = config.model_copy(update={"prompt": "talking person"})
    assert text_context.text_cache(card, config) != text_context.text_cache(card, other)
    assert not torch.equal(
        text_context.text_context(card, config, device=CPU), text_context.text_context(card, other, device=CPU)
    )


def test_random_weights_need_room_but_no_files(tmp_path):
    card = hub.load_card(make_folder(tmp_path / "m"))
    for path in (tmp_path / "m").glob("*.pth"):
        path.unlink()
    generator = load_model(card, {}, RANDOM)
    assert len(run(generator, make_crops(9), at_rate(9))) == 9
    huge = card.model_copy(update={"generator": {**card.generator, "layers": 10**9}})
    with pytest.raises(EnvironmentProblem, match=r"Model m needs .* GB of memory .* cpu has"):
        load_model(huge, {}, RANDOM)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"devices": 3}, UsageError, "2 attention heads and 4 tokens cannot be shared by 3 devices"),
        ({"devices": 2, "graphs": True}, UsageError, "not recorded"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, error, said):
    card = hub.load_card(make_folder(tmp_path / "m"))
    with pytest.raises(error, match=said):
        load_model(card, options, RANDOM)


def test_only_large_models_are_shared_or_random():
    for options, placement in (({"devices": 2}, None), ({}, RANDOM)):
        with pytest.raises(UsageError):
            load_model(hub.load_card("passthrough"), options, placement)
