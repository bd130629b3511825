"""The causal flow: cached streaming equals the masked training pass, and nothing sees its future."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import MEL_ROWS, N_MELS, AudioWindowEncoder, FlowConfig

CONFIG = FlowConfig(latent=5, width=16, layers=3, heads=2, chunk=4, window=8)


@pytest.fixture(scope="module")
def network() -> CausalFlow:
    torch.manual_seed(0)
    network = CausalFlow(CONFIG)
    for parameter in network.parameters():  # zero-initialised gates would make every test pass
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def streamed(network: CausalFlow, clean, noisy, t, audio, references):
    """Velocities of each chunk with the clean states of the chunks before it as its past."""
    cache, out = network.begin(references), []
    for first in range(0, clean.shape[1], CONFIG.chunk):
        chunk = slice(first, first + CONFIG.chunk)
        out.append(network.predict(noisy[:, chunk], t[:, chunk], audio[:, chunk], cache))
        network.commit(clean[:, chunk], audio[:, chunk], cache)
    return torch.cat(out, 1)


def sequence(frames: int, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    clean, noisy = (torch.randn(2, frames, CONFIG.latent, generator=g) for _ in range(2))
    t = torch.rand(2, frames, generator=g)
    audio = torch.randn(2, frames, CONFIG.width, generator=g)
    return clean, noisy, t, audio, torch.randn(2, 3, CONFIG.latent, generator=g)


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 12, 24])
def test_cached_rollout_equals_the_masked_pass(network, frames):
    """24 frames are three times the window, so eviction from the cache is covered."""
    inputs = sequence(frames)
    torch.testing.assert_close(streamed(network, *inputs), network(*inputs), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_output_depends_on_nothing_after_its_chunk(network):
    clean, noisy, t, audio, references = sequence(16)
    before = network(clean, noisy, t, audio, references)
    for tensor in (clean, noisy, t, audio):
        tensor[:, 8:] += 1.0
    after = network(clean, noisy, t, audio, references)
    torch.testing.assert_close(before[:, :8], after[:, :8], atol=1e-6, rtol=0)
    assert (before[:, 8:] - after[:, 8:]).abs().max() > 1e-3


@torch.no_grad()
def test_output_depends_on_audio_references_and_past(network):
    inputs = sequence(12)
    base = network(*inputs)
    for position in (0, 3, 4):
        changed = [x.clone() for x in inputs]
        changed[position][:, :4] += 1.0
        assert (network(*changed)[:, 4:8] - base[:, 4:8]).abs().max() > 1e-4, position


@torch.no_grad()
def test_predict_leaves_the_cache_alone_and_commit_bounds_it(network):
    clean, noisy, t, audio, references = sequence(40)
    cache = network.begin(references)
    for first in range(0, 40, 4):
        chunk = slice(first, first + 4)
        sizes = [k.shape for k in cache.keys]
        network.predict(noisy[:, chunk], t[:, chunk], audio[:, chunk], cache)
        assert [k.shape for k in cache.keys] == sizes
        network.commit(clean[:, chunk], audio[:, chunk], cache)
    assert cache.keys[0].shape[2] == CONFIG.window


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6))
def test_audio_encoder_sees_only_its_own_window(position):
    torch.manual_seed(0)
    encoder = AudioWindowEncoder(8).eval()
    windows = torch.randn(1, 7, MEL_ROWS, N_MELS)
    with torch.no_grad():
        before = encoder(windows)
        windows[0, position] += 1
        after = encoder(windows)
    changed = (before - after).abs().amax(-1)[0] > 1e-6
    assert changed.tolist() == [i == position for i in range(7)]


def test_window_must_be_whole_chunks():
    with pytest.raises(ValueError, match="whole chunks"):
        FlowConfig(chunk=4, window=10)


def test_states_are_kept_near_the_person_where_people_differ():
    """Where ``liberty`` is 1 a state stays, where it is 0 it becomes the references' mean."""
    flow = CausalFlow(CONFIG)
    g = torch.Generator().manual_seed(0)
    x, references = torch.randn(2, 6, CONFIG.latent, generator=g), torch.randn(2, 3, CONFIG.latent, generator=g)
    torch.testing.assert_close(flow.anchored(x, references), x)
    flow.liberty.copy_(torch.diag(torch.tensor([0.0, 1.0, 1.0, 0.5, 1.0])))
    anchored, own = flow.anchored(x, references), references.mean(1, keepdim=True)
    torch.testing.assert_close(anchored[..., 0], own[..., 0].expand(-1, 6))
    torch.testing.assert_close(anchored[..., [1, 2, 4]], x[..., [1, 2, 4]])
    torch.testing.assert_close(anchored[..., 3], (own + x)[..., 3] / 2)
