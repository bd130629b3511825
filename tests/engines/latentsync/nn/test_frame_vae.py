"""The autoencoder: both generations of key names, the scale of its latents, pictures that stay apart."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae, create_vae, vae_tensors
from lipsync_cli.nn.checkpoints import load_strictly

SIZES = ((4, 4, 8, 8), 4)
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


@pytest.fixture(scope="module")
def vae() -> FrameVae:
    torch.manual_seed(0)
    return FrameVae(create_vae(*SIZES).eval().requires_grad_(False))


def test_files_of_both_generations_are_read(vae, tmp_path):
    state = vae.vae.state_dict()
    old = {}
    for key, value in state.items():
        for new, before in OLD.items():
            key = key.replace(new, before) if ".attentions." in key else key
        old[key] = value
    assert "encoder.mid_block.attentions.0.query.weight" in old and old.keys() != state.keys()
    for name, tensors in (("old.pt", old), ("new.pt", state)):
        torch.save(tensors, tmp_path / name)
        loaded = load_strictly(lambda: create_vae(*SIZES), tmp_path / name, rename=vae_tensors)
        assert all(torch.equal(loaded.state_dict()[key], value) for key, value in state.items())


def test_the_true_size_is_the_published_one():
    """334,643,276 bytes are 83,653,863 numbers in float32 and a header."""
    with torch.device("meta"):
        state = create_vae().state_dict()
    assert (len(state), sum(value.numel() for value in state.values())) == (248, 83_653_863)
    assert 0 < 334_643_276 - 4 * 83_653_863 < 50_000


def test_latents_are_scaled_and_pictures_stay_apart(vae):
    pictures = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean, deviation = vae.encode(pictures)
    posterior = vae.vae.encode(2 * pictures - 1).latent_dist
    torch.testing.assert_close(mean, 0.18215 * posterior.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(deviation, 0.18215 * posterior.std, atol=1e-5, rtol=1e-4)
    decoded = vae.decode(mean)
    assert decoded.shape == pictures.shape and decoded.min() >= 0 and decoded.max() <= 1
    expected = (vae.vae.decode(mean[3:4] / 0.18215).sample.clamp(-1, 1) + 1) / 2
    torch.testing.assert_close(decoded[3:4], expected, atol=1e-5, rtol=1e-4)
