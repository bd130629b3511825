"""Which network each file of a Lip Forcing model belongs to, and what its tensors are called there."""

from __future__ import annotations

from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.speech import create_wav2vec2, wav2vec2_tensors
from lipsync_cli.engines.lip_forcing.nn.transformer import LipForcingTransformer
from lipsync_cli.engines.weight_roles import WeightRole
from lipsync_cli.nn.wan.taew import Taew, fit_time_grow
from lipsync_cli.nn.wan.umt5 import create_umt5, umt5_tensors
from lipsync_cli.nn.wan.wan_vae import create_wan_vae, wan_vae_tensors


def roles(config: LipForcingConfig) -> dict[str, WeightRole]:
    """The networks of a model, by role."""
    c = config
    return {
        "transformer": WeightRole(lambda: LipForcingTransformer(c.transformer())),
        "wan-vae": WeightRole(lambda: create_wan_vae(c.vae_width), wan_vae_tensors),
        "taew": WeightRole(lambda: Taew(c.taew_width), fit_time_grow),
        "speech": WeightRole(
            lambda: create_wav2vec2(c.speech_width, c.speech_layers, c.speech_heads, c.speech_feed_forward),
            wav2vec2_tensors,
        ),
        "umt5": WeightRole(lambda: create_umt5(c.text()), umt5_tensors),
    }
