"""Which LatentSync a checkpoint is, and diffusers' names for its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import torch
from torch import Tensor

from lipsync_cli.core.errors import ModelError

# Within motion modules: the checkpoint's name → diffusers'.
_MOTION = {
    ".temporal_transformer.": ".",
    ".attention_blocks.0.pos_encoder.": ".pos_embed.",
    ".attention_blocks.0.": ".attn1.",
    ".attention_blocks.1.": ".attn2.",
    ".norms.0.": ".norm1.",
    ".norms.1.": ".norm2.",
    ".ff_norm.": ".norm3.",
}
_SECOND_POSITIONS = ".attention_blocks.1.pos_encoder.pe"
_ATTENTION = re.compile(r"\.audio_cross_attn\.(norm|attn)\.")


class Family(StrEnum):
    """What the names of a checkpoint's tensors tell; 1.5 and 1.6 have the same."""

    V1_0 = "LatentSync 1.0"
    V1_5 = "LatentSync 1.5 or 1.6"
    EFFICIENT = "a fine-tune with motion modules in the decoder alone (stage2_efficient)"
    UNKNOWN = "no LatentSync UNet"


def family(keys: Mapping[str, object]) -> Family:
    """The family of a checkpoint with such ``keys``, diffusers' names included."""
    motion = {key.split(".", 1)[0] for key in keys if ".motion_modules." in key}
    if not any(key.endswith("conv_in.weight") for key in keys) or not any(".resnets." in key for key in keys):
        return Family.UNKNOWN
    if motion == {"up_blocks"}:
        return Family.EFFICIENT
    if motion:
        return Family.V1_5 if motion == {"down_blocks", "up_blocks"} else Family.UNKNOWN
    return Family.V1_0 if any("attn2" in key or "audio_cross_attn" in key for key in keys) else Family.UNKNOWN


def unet_tensors(tensors: Mapping[str, Tensor], *, motion: bool) -> dict[str, Tensor]:
    """The tensors of a checkpoint under diffusers' names; ModelError when it is of another version than expected.

    Both temporal attentions of a module store the same table of positions, of which diffusers keeps one. A pair that
    is not complete or not alike keeps its names, so that strict loading reports it.
    """
    _require(family(tensors), Family.V1_5 if motion else Family.V1_0)
    renamed = {}
    for key, value in tensors.items():
        if ".motion_modules." in key:
            if key.endswith(_SECOND_POSITIONS) and _is_pair(tensors, key):
                continue
            if key.endswith(".pos_encoder.pe") and not _is_pair(tensors, key):
                renamed[key] = value
                continue
            renamed[_in_motion(key)] = value
        else:
            renamed[_ATTENTION.sub(lambda m: ".norm2." if m[1] == "norm" else ".attn2.", key)] = value
    return renamed


def _require(found: Family, expected: Family) -> None:
    if found is expected:
        return
    hint = "Fetch the file that belongs to the model again."
    if found is Family.V1_0:
        hint = "Use it with --model latentsync-1.0."
    elif found is Family.V1_5:
        hint = "Use it with --model latentsync-1.5 (256 pixels) or latentsync-1.6 (512 pixels)."
    elif found is Family.EFFICIENT:
        hint = "Merge it with the released weights, from which its other motion modules were left out."
    raise ModelError(f"The UNet's weights are {found}; {expected} was expected.", hint=hint)


def _is_pair(tensors: Mapping[str, Tensor], key: str) -> bool:
    first, second = (tensors.get(re.sub(r"attention_blocks\.\d", f"attention_blocks.{i}", key)) for i in (0, 1))
    if first is None or second is None or first.shape != second.shape:
        return False
    return first.is_meta or torch.equal(first, second)


def _in_motion(key: str) -> str:
    for ours, theirs in _MOTION.items():
        key = key.replace(ours, theirs)
    return key
