"""Models with a clock of their own: what three engines share of streaming, written once.

A chunk of the clock is shown the crops that are on screen at its frames; every crop of the video then gets the
picture nearest to its own time. At the clock's own rate that is one for one, at any other, and at a variable one,
nothing is resampled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, Float32, GeneratedCrop, ModelSpec
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel

ON_TIME = Fraction(1, 16)
"""A crop this share of a frame after a point of the clock is on screen there; containers round their times."""
HALF = Fraction(1, 2)


@dataclass(slots=True, kw_only=True)
class ClockState:
    """What a segment carries from chunk to chunk; its size does not depend on the segment's length.

    ``taken`` and ``made``: frames of the clock whose crops were taken, and whose pictures were made. ``pictures``:
    those that may still be wanted, by frame. ``on_screen``: the last crop and its position. ``owed``: crops without
    an answer, with their positions.
    """

    start: Fraction
    taken: int = 0
    made: int = 0
    pictures: dict[int, Float32 | Tensor] = field(default_factory=dict)
    on_screen: tuple[Fraction, Crop] | None = None
    owed: deque[tuple[Fraction, Crop]] = field(default_factory=deque)


S = TypeVar("S", bound=ClockState)


class ClockedModel(LipSyncModel[S]):
    """A model whose chunks are counted in frames of ``spec.rate``, from the segment's start.

    An engine writes ``begin``, ``next_count`` and ``make``; and ``flush`` and ``hand_out`` where it needs them.
    ``device`` is where it computes.
    """

    device: torch.device

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        if spec.rate is None:
            raise ValueError("a model with a clock needs a rate")
        self._spec, self._rate, self.device = spec, spec.rate, device

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @abstractmethod
    def next_count(self, state: S, last: int) -> int:
        """Frames of the next chunk, when pictures up to frame ``last`` are wanted."""

    @abstractmethod
    def make(self, state: S, crops: Sequence[Crop], chunk: CropChunk) -> Tensor:
        """Pictures ``[n h w 3]`` in [0, 1], the next of the clock; ``crops`` are at its frames from ``state.taken``.

        n is ``len(crops)`` unless the model looks ahead.
        """

    def flush(self, state: S) -> Tensor | None:
        """The last pictures of a model that looks ahead, ``[n h w 3]``."""
        return None

    def hand_out(self, state: S, frame: int, crop: Crop, chunk: CropChunk | None) -> GeneratedCrop | None:
        """What ``crop`` gets for frame ``frame`` of the clock; ``chunk`` is the one that just came."""
        return GeneratedCrop(state.pictures[frame])

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def step(self, state: S, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """Speak up to the chunk's last time, then hand out what is final."""
        positions = [(time - state.start) * self._rate for time in chunk.times]
        timed = list(zip(positions, chunk.crops, strict=True))
        on_screen = [*([state.on_screen] if state.on_screen else []), *timed]
        state.owed.extend(timed)
        last = ceil(positions[-1] - ON_TIME)
        while state.taken <= last:
            frames = range(state.taken, state.taken + self.next_count(state, last))
            pictures = self.make(state, [crop_at(on_screen, Fraction(frame)) for frame in frames], chunk)
            state.taken = frames.stop
            self._keep(state, pictures)
        state.on_screen = on_screen[-1]
        return self._ready(state, state.made if self.spec.lag_frames else None, chunk)

    @torch.inference_mode()
    def finish(self, state: S) -> list[GeneratedCrop | None]:
        """The pictures that waited for another chunk."""
        pictures = self.flush(state)
        if pictures is not None:
            self._keep(state, pictures)
        return self._ready(state, None, None)

    def _keep(self, state: S, pictures: Tensor) -> None:
        stored: Sequence[Float32 | Tensor]
        stored = list(settled(pictures)) if self.leave_on_device else list(pictures.cpu().numpy())
        state.pictures |= {state.made + index: picture for index, picture in enumerate(stored)}
        state.made += len(stored)

    def _ready(self, state: S, limit: int | None, chunk: CropChunk | None) -> list[GeneratedCrop | None]:
        """What the crops get that have waited longest, those before frame ``limit``, all of them if None."""
        out: list[GeneratedCrop | None] = []
        oldest = 0
        while state.owed and (limit is None or floor(state.owed[0][0] + HALF) < limit):
            position, crop = state.owed.popleft()
            oldest = min(floor(position + HALF), state.made - 1)
            out.append(self.hand_out(state, oldest, crop, chunk))
        state.pictures = {frame: picture for frame, picture in state.pictures.items() if frame >= oldest}
        return out


def crop_at(on_screen: Sequence[tuple[Fraction, Crop]], position: Fraction) -> Crop:
    """The last crop that is not later than ``position``; before the first, the first."""
    shown = [crop for at, crop in on_screen if at <= position + ON_TIME]
    return shown[-1] if shown else on_screen[0][1]


def pixels_of(crops: Sequence[Crop], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """RGB of crops, ``[n 3 s s]`` in [0, 1]."""
    stacked = torch.from_numpy(np.stack([crop.rgb for crop in crops])).to(device)
    return stacked.permute(0, 3, 1, 2).to(dtype) / 255


def settled(pictures: Tensor) -> Tensor:
    """``pictures`` once their values are there, so that other threads may read them in streams of their own."""
    if pictures.is_cuda:
        torch.cuda.current_stream(pictures.device).synchronize()
    return pictures
