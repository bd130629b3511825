"""What models ask of a codec: pictures to normalised latents and back, as a stream."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Codec(Protocol):
    """Pictures ``[b t 3 h w]`` in [0, 1] to normalised Wan latents ``[b n c h w]`` and back, as a stream."""

    def begin(self) -> Any: ...

    def encode(self, frames: Tensor, state: Any) -> Tensor: ...

    def decode(self, latents: Tensor, state: Any) -> Tensor: ...
