"""A LatentSync model narrow enough for any machine: its configuration, networks, and a folder with its files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch

from lipsync_cli.engines.latentsync.config import LatentSyncConfig
from lipsync_cli.engines.latentsync.generator import LatentSyncNetworks
from lipsync_cli.engines.latentsync.load import random_networks

TABLE = {
    "crop_size": 64, "chunk": 4, "widths": [8, 8, 16, 16], "layers": 1, "heads": 2, "groups": 4, "speech_width": 8,
    "speech_layers": 2, "speech_heads": 2, "speech_feed_forward": 16, "speech_positions": 40, "speech_past": 8,
    "speech_lookahead": 3, "vae_widths": [4, 4, 4, 4], "steps": 2, "reuse": 2,
}  # fmt: skip
CONFIG = LatentSyncConfig(**TABLE)
CPU = torch.device("cpu")


def make_networks(config: LatentSyncConfig = CONFIG, seed: int = 0) -> LatentSyncNetworks:
    """Random weights, strong enough that everything the network is given shows in its pictures."""
    networks = random_networks(config, device=CPU, dtype=torch.float32, seed=seed)
    torch.manual_seed(seed)
    for name, parameter in networks.unet.named_parameters():
        if "attn2" in name:
            parameter.mul_(4)
    # Untrained convolutions all but level their input.
    networks.vae.vae.quant_conv.weight.mul_(20)
    networks.vae.vae.decoder.conv_out.weight.mul_(5)
    return networks


_MOTION = {".attn1.": ".attention_blocks.0.", ".attn2.": ".attention_blocks.1.", ".norm1.": ".norms.0.",
           ".norm2.": ".norms.1.", ".norm3.": ".ff_norm."}  # fmt: skip
_OPENAI = {"layers.": "blocks.", ".self_attn.q_proj.": ".attn.query.", ".self_attn.k_proj.": ".attn.key.",
           ".self_attn.v_proj.": ".attn.value.", ".self_attn.out_proj.": ".attn.out.", ".fc1.": ".mlp.0.",
           ".self_attn_layer_norm.": ".attn_ln.", ".fc2.": ".mlp.2.", ".final_layer_norm.": ".mlp_ln."}  # fmt: skip


def published_unet(net: torch.nn.Module, *, old: bool = False) -> dict[str, torch.Tensor]:
    """The UNet's tensors under the names of the released files; ``old`` for 1.0."""
    published = {}
    for key, value in net.state_dict().items():
        if old:
            key = re.sub(r"\.0\.attn2\.", ".0.audio_cross_attn.attn.", key)
            key = re.sub(r"\.0\.norm2\.", ".0.audio_cross_attn.norm.", key) if "transformer_blocks" in key else key
        elif ".motion_modules." in key:
            key = re.sub(r"(motion_modules\.\d+)\.", r"\1.temporal_transformer.", key)
            for ours, theirs in _MOTION.items():
                key = key.replace(ours, theirs)
        if ".pos_embed." in key:
            for index in (0, 1):
                published[key.replace(".pos_embed.", f".attention_blocks.{index}.pos_encoder.")] = value
        else:
            published[key] = value
    return published


def openai_whisper(encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    """An encoder's tensors under OpenAI's names."""
    renamed = {}
    for key, value in encoder.state_dict().items():
        for theirs, ours in _OPENAI.items():
            key = key.replace(theirs, ours)
        key = "positional_embedding" if key == "embed_positions.weight" else re.sub("^layer_norm", "ln_post", key)
        renamed[f"encoder.{key}"] = value
    return renamed


def make_folder(folder: Path, *, change=lambda role, tensors: None, table=TABLE) -> Path:
    """A model folder whose files are wrapped and named like the published ones; ``change`` may spoil them."""
    config = LatentSyncConfig(**table)
    networks = make_networks(config)
    files = {
        "unet": ("latentsync_unet.pt", published_unet(networks.unet.net, old=not config.motion), "state_dict"),
        "vae": ("vae.pt", dict(networks.vae.vae.state_dict()), None),
        "whisper": ("tiny.pt", openai_whisper(networks.speech.encoder), "model_state_dict"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    card = [f'name = "{folder.name}"', "version = 1", 'kind = "latentsync"', 'licence = "none"', "[generator]"]
    card += [f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in table.items()]
    for role, (name, tensors, wrapper) in files.items():
        tensors = {key: value.clone() for key, value in tensors.items()}
        change(role, tensors)
        extra = {"dims": {"n_mels": 80}} if role == "whisper" else {"global_step": 7}
        torch.save({**extra, wrapper: tensors} if wrapper else tensors, folder / name)
        card += entry(role, folder / name)
    (folder / "model.toml").write_text("\n".join(card) + "\n")
    return folder


def entry(role: str, path: Path) -> list[str]:
    """A file's lines in a card."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ["[[weights]]", f'role = "{role}"', f'file = "{path.name}"', f"bytes = {path.stat().st_size}",
            f'sha256 = "{digest}"', 'licence = "none"']  # fmt: skip
