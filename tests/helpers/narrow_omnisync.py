"""An OmniSync model narrow enough for any machine, with weights that make everything depend on everything."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.generator import OmniSyncNetworks
from lipsync_cli.engines.omnisync.load import random_networks

PIXELS = {
    "crop_size": 32, "width": 24, "feed_forward": 32, "layers": 2, "heads": 2, "time_frequencies": 8,
    "codec": "pixels", "pixel_fold": 8, "speech": "mel", "text_source": "none", "audio_reach": 1,
    "window": 6, "overlap": 2, "steps": 3,
}  # fmt: skip
WAN = PIXELS | {
    "codec": "wan", "vae_width": 4, "window": 4, "overlap": 1, "steps": 2, "speech": "whisper", "speech_width": 16,
    "speech_layers": 1, "speech_heads": 2, "speech_feed_forward": 16, "speech_seconds": 2, "speech_past": 6,
    "speech_lookahead": 3, "text_source": "umt5", "text_width": 16, "text_tokens": 4,
}  # fmt: skip
CPU = torch.device("cpu")


def config(table: dict = PIXELS, **changes) -> OmniSyncConfig:
    return OmniSyncConfig(**(table | changes))


def make_networks(made: OmniSyncConfig, seed: int = 0) -> OmniSyncNetworks:
    networks = random_networks(made, device=CPU, dtype=torch.float32, seed=seed)
    torch.manual_seed(seed)
    for name, parameter in networks.transformer.named_parameters():
        if parameter.ndim > 1 and "modulation" not in name:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        elif "norm" in name and "weight" in name:
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.3)
    return replace(networks)


def make_folder(folder: Path, table: dict = PIXELS) -> Path:
    """A model folder with every file its card names."""
    networks = make_networks(config(table))
    files = {"transformer": networks.transformer.state_dict()}
    if table["codec"] == "wan":
        files["wan-vae"] = networks.codec.vae.state_dict()
    if networks.speech is not None:
        files["speech"] = {f"model.encoder.{key}": v for key, v in networks.speech.encoder.state_dict().items()}
    if networks.text is not None:
        files["text"] = {"context": networks.text}
    folder.mkdir(parents=True, exist_ok=True)
    card = [f'name = "{folder.name}"', "version = 1", 'kind = "omnisync"', 'licence = "none"', "[generator]"]
    card += [f"{key} = {value!r}".replace("'", '"') for key, value in table.items()]
    for role, tensors in files.items():
        path = folder / f"{role}.safetensors"
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, path)
        card += ["[[weights]]", f'role = "{role}"', f'file = "{path.name}"', f"bytes = {path.stat().st_size}"]
        card += [f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"', 'licence = "none"']
    (folder / "model.toml").write_text("\n".join(card) + "\n")
    return folder
