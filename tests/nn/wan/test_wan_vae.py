"""The Wan autoencoder: streaming equals diffusers' whole clip, and the original key names are understood."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.nn.wan.wan_vae import StreamingWanVae, WanState, create_wan_vae, diffusers_key


@pytest.fixture(scope="module")
def wan() -> StreamingWanVae:
    torch.manual_seed(0)
    return StreamingWanVae(create_wan_vae(base_width=4)).eval()


@torch.no_grad()
def test_encoding_a_stream_is_diffusers_encoding_of_the_clip(wan):
    frames, state = torch.rand(2, 21, 3, 16, 24), WanState()
    parts = [wan.encode(frames[:, part], state) for part in (slice(0, 9), slice(9, 21))]
    pixels = (2 * frames - 1).transpose(1, 2)
    whole = wan.vae.encode(pixels).latent_dist.mode().transpose(1, 2)
    whole = (whole - wan.mean) / wan.std
    assert [part.shape for part in parts] == [(2, 3, 16, 2, 3), (2, 3, 16, 2, 3)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=2e-6, rtol=0)
    assert float(whole.std()) > 1e-4


@torch.no_grad()
def test_decoding_a_stream_is_diffusers_decoding_of_the_clip(wan):
    latents, state = torch.randn(1, 6, 16, 2, 3), WanState()
    parts = [wan.decode(latents[:, part], state) for part in (slice(0, 3), slice(3, 6))]
    assert [part.shape[1] for part in parts] == [9, 12]
    whole = wan.vae.decode((latents * wan.std + wan.mean).transpose(1, 2)).sample.transpose(1, 2)
    torch.testing.assert_close(torch.cat(parts, 1), (whole + 1) / 2, atol=2e-6, rtol=0)
    assert float(whole.std()) > 1e-4


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=3))
@torch.no_grad()
def test_any_split_gives_the_same(sizes):
    torch.manual_seed(0)
    wan = StreamingWanVae(create_wan_vae(base_width=4)).eval()
    frames, state, first, parts = torch.rand(1, 4 * sum(sizes) - 3, 3, 16, 16), WanState(), 0, []
    for size in sizes:
        parts.append(wan.encode(frames[:, max(0, 4 * first - 3) : 4 * (first + size) - 3], state))
        first += size
    torch.testing.assert_close(torch.cat(parts, 1), wan.encode(frames, WanState()), atol=2e-6, rtol=0)


def test_an_incomplete_group_of_frames_is_refused(wan):
    with pytest.raises(ValueError, match="groups of four"):
        wan.encode(torch.rand(1, 4, 3, 16, 16), WanState())


def original_keys() -> list[str]:
    """The keys of ``Wan2.1_VAE.pth``, enumerated from its layout."""

    def residual(name: str, shortcut: bool = False) -> list[str]:
        keys = [f"{name}.residual.{i}.gamma" for i in (0, 3)]
        keys += [f"{name}.residual.{i}.{kind}" for i in (2, 6) for kind in ("weight", "bias")]
        return keys + ([f"{name}.shortcut.weight", f"{name}.shortcut.bias"] if shortcut else [])

    def pair(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias"]

    keys = [*pair("conv1"), *pair("conv2")]
    for side in ("encoder", "decoder"):
        keys += [*pair(f"{side}.conv1"), *residual(f"{side}.middle.0"), f"{side}.middle.1.norm.gamma"]
        keys += [*pair(f"{side}.middle.1.to_qkv"), *pair(f"{side}.middle.1.proj"), *residual(f"{side}.middle.2")]
        keys += [f"{side}.head.0.gamma", *pair(f"{side}.head.2")]
    for i in range(11):
        name = f"encoder.downsamples.{i}"
        if i in (2, 5, 8):
            keys += pair(f"{name}.resample.1") + (pair(f"{name}.time_conv") if i > 2 else [])
        else:
            keys += residual(name, shortcut=i in (3, 6))
    for i in range(15):
        name = f"decoder.upsamples.{i}"
        if i in (3, 7, 11):
            keys += pair(f"{name}.resample.1") + (pair(f"{name}.time_conv") if i < 11 else [])
        else:
            keys += residual(name, shortcut=i == 4)
    return keys


def test_original_keys_become_exactly_the_networks():
    with torch.device("meta"):
        full = create_wan_vae().state_dict()
    keys = original_keys()
    assert sorted(map(diffusers_key, keys)) == sorted(full)
    assert all(diffusers_key(key) == key for key in full)
    parameters = sum(value.numel() for value in full.values())
    assert 0 < 507_609_880 - 4 * parameters < 400 * len(keys)


def test_the_names_are_those_of_diffusers_own_converter():
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    keys = original_keys()
    theirs = {value: key for key, value in convert_wan_vae_to_diffusers({key: key for key in keys}).items()}
    assert theirs == {key: diffusers_key(key) for key in keys}
