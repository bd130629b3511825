"""A helper of ``ranks``: ``python -m`` this module with JOB serves passes until told to stop.

JOB is JSON: ``port`` and ``devices`` of the group, ``rank``, ``device``, ``dtype``, the transformer's ``config``,
``threads``, ``float8`` and ``compile``. Standard input is held open by rank 0; when it closes, so does the helper.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lipsync_cli.engines.lip_forcing.nn.cache import StreamCache, TextKeysValues
from lipsync_cli.engines.lip_forcing.nn.float8 import use_float8
from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition, LipForcingTransformer
from lipsync_cli.engines.lip_forcing.parallel.ranks import HEADER, HOST, Do, join_group, ready_key
from lipsync_cli.engines.lip_forcing.parallel.token_split import TokenSplit
from lipsync_cli.nn.wan.config import (
    CONDITION_CHANNELS,
    FRAMES_PER_LATENT,
    LATENT_CHANNELS,
    TransformerConfig,
)


class Share:
    """This rank's half of what ``ranks.SharedTransformer`` does."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._dtype: torch.dtype = getattr(torch, job["dtype"])
        self._device = torch.device(job["device"], job["rank"]) if job["device"] == "cuda" else torch.device("cpu")
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        store = dist.TCPStore(HOST, job["port"], job["devices"], is_master=False)  # type: ignore[attr-defined]
        store.set(ready_key(job["rank"]), "")
        join_group(store, job["rank"], job["devices"], self._device)
        with torch.device("meta"):
            network = LipForcingTransformer(TransformerConfig(**job["config"]))
        self._network = network.to(self._dtype).to_empty(device=self._device).requires_grad_(False).eval()
        for parameter in self._network.parameters():
            dist.broadcast(parameter, 0)
        if job["float8"]:
            use_float8(self._network)
        if job["compile"]:
            self._network.compile_parts()
        self._network.split = TokenSplit()
        self._text: TextKeysValues = []
        self._streams: dict[int, StreamCache] = {}

    @torch.inference_mode()
    def serve(self) -> None:
        """Do as rank 0 says until it says stop."""
        while True:
            what, *numbers = self._receive((HEADER,), torch.int64).tolist()
            if what == Do.STOP:
                return
            self._do(Do(what), numbers)

    def _do(self, what: Do, numbers: list[int]) -> None:
        network, config, (first, second, third, fourth, *_) = self._network, self._network.config, numbers
        if what is Do.MODULATION:
            network.set_wide_modulation(bool(first))
        elif what is Do.TEXT:
            self._text = network.read_text(self._receive((1, first, config.text_width), self._dtype))
        elif what is Do.BEGIN:
            self._streams[first] = network.open_stream(self._text, (second, third))
        elif what is Do.ADVANCE:
            self._streams[first].advance(second)
        elif what is Do.FORGET:
            self._streams.pop(first)
        else:
            x = self._receive((1, second, LATENT_CHANNELS, third, fourth), self._dtype)
            t = self._receive((1, second), torch.float32)
            visual = self._receive((1, second, CONDITION_CHANNELS, third, fourth), self._dtype)
            speech = self._receive((1, second, FRAMES_PER_LATENT * config.audio_features), self._dtype)
            network.predict(x, t, ChunkCondition(visual, speech), self._streams[first])

    def _receive(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        tensor = torch.empty(shape, dtype=dtype, device=self._device)
        dist.broadcast(tensor, 0)
        return tensor


def main() -> None:
    """Serve, and leave when rank 0 does."""
    job = json.loads(sys.argv[1])
    threading.Thread(target=_leave_with_rank_0, daemon=True).start()
    torch.set_num_threads(job["threads"])
    Share(job).serve()
    dist.destroy_process_group()


def _leave_with_rank_0() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
