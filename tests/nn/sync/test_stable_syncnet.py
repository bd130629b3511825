"""StableSyncNet: the public files' keys, shapes and sizes, its blocks against diffusers', its windows, its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.sync.stable_syncnet import (
    CONFIGS,
    StableSyncConfig,
    StableSyncNet,
    TowerConfig,
    _AttentionBlock,
    _DownBlock,
    lower_halves,
)
from lipsync_cli.nn.sync.stable_syncnet_file import load_stable_syncnet, save_stable_syncnet

KEYS = Path(__file__).with_name("stable_syncnet_pixel_attn.tsv")
TINY = StableSyncConfig(
    2,
    TowerConfig((1, 8, 6), (8, 8, 16), (2, (2, 1), (2, 3)), attention=(1,)),
    TowerConfig((6, 4, 8), (8, 16, 16), ((1, 2), 2, 2), attention=(0,)),
    groups=4,
    heads=2,
)


def on_meta(config: StableSyncConfig) -> StableSyncNet:
    with torch.device("meta"):
        return StableSyncNet(config)


@pytest.fixture(scope="module")
def tiny() -> StableSyncNet:
    torch.manual_seed(0)
    return StableSyncNet(TINY).eval()


def test_state_dict_has_the_public_keys_and_shapes() -> None:
    listed = dict(line.split("\t") for line in KEYS.read_text().splitlines())
    ours = {
        key: ",".join(map(str, value.shape)) for key, value in on_meta(CONFIGS["16_pixel_attn"]).state_dict().items()
    }
    assert ours == listed


@pytest.mark.parametrize(
    ("name", "parameters", "keys", "embedding", "columns"),
    [
        ("16_pixel_attn", 401_306_080, 266, 2048, 52),
        ("16_pixel", 371_766_496, 178, 2048, 52),
        ("16_latent", 65_544_416, 144, 1024, 52),
        ("25_pixel", 103_742_144, 162, 1024, 80),
    ],
)
def test_every_public_configuration_has_its_size(
    name: str, parameters: int, keys: int, embedding: int, columns: int
) -> None:
    network = on_meta(CONFIGS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == keys
    assert len(network.visual_encoder.norm_out.weight) == len(network.audio_encoder.norm_out.weight) == embedding
    assert (network.config.columns, network.config.sees_pixels) == (columns, name != "16_latent")


def test_a_window_becomes_one_unit_vector() -> None:
    network = StableSyncNet(CONFIGS["small"])
    picture, sound = network.picture(torch.zeros(2, 48, 32, 64)), network.sound(torch.zeros(2, 1, 80, 52))
    assert picture.shape == sound.shape == (2, 192)


@pytest.mark.parametrize(
    ("factors", "pad", "shape"),
    [((2, 2), (0, 1, 0, 1), (4, 6)), ((1, 2), (0, 1, 1, 1), (8, 6)), ((2, 1), (1, 1, 0, 1), (4, 12)),
     ((2, 3), (0, 1, 0, 1), (4, 4))],
)  # fmt: skip
def test_sides_are_halved_or_kept(factors: tuple[int, int], pad: tuple[int, ...], shape: tuple[int, int]) -> None:
    block = _DownBlock(8, 8, factors, 4)
    assert block.pad == pad
    assert block(torch.zeros(1, 8, 8, 12)).shape == (1, 8, *shape)
    config = TowerConfig((8, 8, 12), (8, 16), (factors, shape))
    StableSyncNet(StableSyncConfig(2, config, config, groups=4))
    assert len(_DownBlock(8, 8, (1, 1), 4).state_dict()) == 8


def test_attention_agrees_with_diffusers() -> None:
    from diffusers.models.attention import FeedForward
    from diffusers.models.attention_processor import Attention

    torch.manual_seed(0)
    block = _AttentionBlock(16, 4, 2)
    attention = Attention(query_dim=16, heads=2, dim_head=8, bias=True)
    attention.load_state_dict(block.attn.state_dict())
    forward = FeedForward(16, activation_fn="geglu")
    forward.load_state_dict(block.ff.state_dict())
    x = torch.randn(2, 16, 3, 5)
    y = block.conv_in(nn.functional.group_norm(x, 4, block.norm1.weight, block.norm1.bias, eps=1e-6))
    rows = y.permute(0, 2, 3, 1).reshape(2, 15, 16)
    rows = attention(block.norm2(rows)) + rows
    rows = forward(block.norm3(rows)) + rows
    expected = block.conv_out(rows.reshape(2, 3, 5, 16).permute(0, 3, 1, 2)) + x
    torch.testing.assert_close(block(x), expected)


def test_cosines_are_probabilities_and_checkpointing_changes_no_gradient(tiny: StableSyncNet) -> None:
    torch.manual_seed(1)
    frames, mel = torch.randn(3, 6, 4, 8, requires_grad=True), torch.randn(3, 1, 8, 6)
    cosine = tiny(frames, mel)
    assert (cosine >= 0).all() and (cosine <= 1 + 1e-6).all()
    torch.testing.assert_close(tiny.picture(frames).norm(dim=1), torch.ones(3))
    (plain,) = torch.autograd.grad(cosine.sum(), frames)
    other = StableSyncNet(TINY, checkpointing=True)
    other.load_state_dict(tiny.state_dict())
    (again,) = torch.autograd.grad(other(frames, mel).sum(), frames)
    torch.testing.assert_close(again, plain)
    assert plain.abs().sum() > 0


def test_a_window_is_the_lower_half_one_frame_after_the_other() -> None:
    frames = torch.arange(2 * 4 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 4, 3, 8, 8)
    window = lower_halves(frames)
    assert window.shape == (2, 12, 4, 8)
    assert torch.equal(window[1, 3 * 2 + 1], frames[1, 2, 1, 4:])
    assert lower_halves(torch.zeros(1, 16, 3, 512, 512), 256).shape == (1, 48, 128, 256)
    for shape in ((1, 16, 3, 128, 256), (1, 16, 4, 256, 256), (1, 16, 3, 255, 255)):
        with pytest.raises(ValueError, match="aligned crops"):
            lower_halves(torch.zeros(shape))


def test_what_cannot_work_is_refused(tiny: StableSyncNet) -> None:
    with pytest.raises(ValueError, match=r"takes \[b 6, 4, 8\]"):
        tiny.picture(torch.zeros(1, 6, 8, 8))
    with pytest.raises(ValueError, match="one place, not in 2 × 1"):
        StableSyncNet(StableSyncConfig(2, TINY.audio, TowerConfig((6, 4, 8), (8, 16), ((1, 4), 2)), groups=4))
    with pytest.raises(ValueError, match="end in 16 and 8"):
        StableSyncNet(StableSyncConfig(2, TINY.audio, TowerConfig((6, 4, 8), (8, 8), ((2, 4), 2)), groups=4))
    with pytest.raises(ValueError, match="as many factors"):
        StableSyncNet(StableSyncConfig(2, TINY.audio, TowerConfig((6, 4, 8), (8, 16), (4,)), groups=4))


def test_a_file_of_our_own_says_its_configuration(tiny: StableSyncNet, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "mine.pt"
    save_stable_syncnet(path, tiny.state_dict(), TINY, step=7)
    loaded = load_stable_syncnet(path)
    assert loaded.config == TINY
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in tiny.state_dict().items())
    content = torch.load(path, weights_only=True)
    assert (set(content), content["global_step"]) == ({"state_dict", "global_step", "config"}, 7)
    assert [item.name for item in path.parent.iterdir()] == ["mine.pt"]


def test_a_public_file_is_known_by_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "stable_syncnet.pt"
    weights = StableSyncNet(CONFIGS["small"]).state_dict()
    torch.save({"state_dict": weights, "global_step": 3, "train_loss_list": [0.7, 0.6]}, path)
    assert load_stable_syncnet(path).config == CONFIGS["small"]
    # As distributed training saves it.
    torch.save({"state_dict": {f"module.{key}": value.half() for key, value in weights.items()}}, path)
    loaded = load_stable_syncnet(path)
    assert loaded.audio_encoder.conv_in.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("audio_encoder.norm_out.bias"), "1 missing (audio_encoder.norm_out.bias)"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected (extra)"),
        (lambda state: state.update({"visual_encoder.conv_in.bias": torch.zeros(3)}), "[3] instead of [16]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, words: str, tmp_path: Path) -> None:
    path = tmp_path / "stable_syncnet.pt"
    state = StableSyncNet(CONFIGS["small"]).state_dict()
    change(state)
    torch.save({"state_dict": state}, path)
    with pytest.raises(ModelError) as error:
        load_stable_syncnet(path)
    assert words in str(error.value)


def test_other_files_are_refused_in_a_sentence(tiny: StableSyncNet, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="no readable torch checkpoint"):
        load_stable_syncnet(path)
    torch.save({"state_dict": tiny.state_dict(), "config": {"frames": 2}}, path)
    with pytest.raises(ModelError, match="wrong at audio"):
        load_stable_syncnet(path)
