"""What a Lip Forcing model needs of a machine."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli import hub
from lipsync_cli.engines.lip_forcing.config import read_config
from lipsync_cli.engines.lip_forcing.cost import needed_bytes
from lipsync_cli.engines.lip_forcing.load import random_networks
from tests.helpers.narrow_lip_forcing import CONFIG, CPU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_need_is_the_size_of_the_networks_and_of_a_full_ring(dtype):
    networks = random_networks(CONFIG, device=CPU, dtype=dtype)
    text = networks.transformer.read_text(networks.text.to(dtype))
    size = CONFIG.latent_size
    ring = networks.transformer.open_stream(text, (size, size)).nbytes
    used = [networks.transformer, networks.speech, networks.encoder.vae.encoder, networks.decoder.decoder]
    weights = sum(p.numel() * p.element_size() for network in used for p in network.parameters())
    assert needed_bytes(CONFIG, dtype) == weights + ring
    assert needed_bytes(CONFIG, dtype, devices=2) == weights + ring / 2


def test_the_14b_needs_what_its_authors_report_less_activations():
    config = read_config(hub.load_card("lip-forcing-14b").generator, model="m")
    assert 34e9 < needed_bytes(config, torch.bfloat16) < 37e9
