"""A Lip Forcing model narrow enough for any machine: its configuration, networks, and a folder with its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.load import random_networks

TABLE = {
    "crop_size": 32, "width": 24, "feed_forward": 32, "layers": 4, "heads": 2, "text_width": 16, "text_tokens": 4,
    "speech_width": 16, "speech_layers": 2, "speech_heads": 2, "speech_feed_forward": 16, "speech_past": 6,
    "speech_lookahead": 3, "audio_width": 8, "time_frequencies": 8, "vae_width": 4, "taew_width": 4,
}  # fmt: skip
CONFIG = LipForcingConfig(**TABLE)
CPU = torch.device("cpu")


def make_networks(config: LipForcingConfig = CONFIG, seed: int = 0):
    """Random weights, strong enough that everything the network is given shows in its pictures."""
    networks = random_networks(config, device=CPU, dtype=torch.float32, seed=seed)
    torch.manual_seed(seed)
    for name, parameter in networks.transformer.named_parameters():
        if parameter.ndim > 1 and "modulation" not in name:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        elif "norm" in name and "weight" in name:
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.3)
    # Untrained convolutions all but level their input.
    networks.encoder.vae.quant_conv.weight *= 30
    return networks


def make_folder(folder: Path, *, change=lambda role, tensors: None, table=TABLE, suffix: str = ".pth") -> Path:
    """A model folder whose files have the key names of the published ones; ``change`` may spoil them."""
    config = LipForcingConfig(**table)
    networks = make_networks(config)
    files = {
        "transformer": networks.transformer.state_dict(),
        "wan-vae": networks.encoder.vae.state_dict(),
        "taew": networks.decoder.state_dict(),
        "speech": {f"wav2vec2.{key}": value for key, value in speech_tensors(networks).items()},
        "text": {"context": networks.text},
    }
    folder.mkdir(parents=True, exist_ok=True)
    card = [f'name = "{folder.name}"', "version = 1", 'kind = "lip-forcing"', 'licence = "none"', "[generator]"]
    card += [f"{key} = {value}" for key, value in table.items()]
    for role, tensors in files.items():
        tensors = {key: value.clone() for key, value in tensors.items()}
        change(role, tensors)
        path = folder / (role + suffix)
        if suffix == ".safetensors":
            save_file(tensors, path)
        else:
            torch.save(tensors, path)
        card += ["[[weights]]", f'role = "{role}"', f'file = "{path.name}"', f"bytes = {path.stat().st_size}"]
        card += [f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"', 'licence = "none"']
    (folder / "model.toml").write_text("\n".join(card) + "\n")
    return folder


def speech_tensors(networks) -> dict[str, torch.Tensor]:
    """wav2vec 2.0 with its weight normalisation as files have it: a direction and a length."""
    state = networks.speech.wav2vec2.state_dict()
    weight = state.pop("encoder.pos_conv_embed.conv.weight")
    state["encoder.pos_conv_embed.conv.weight_v"] = weight
    state["encoder.pos_conv_embed.conv.weight_g"] = weight.norm(dim=(0, 1), keepdim=True)
    return state
