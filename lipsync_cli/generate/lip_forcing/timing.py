"""How fast Lip Forcing is here, measured with random weights of the true shapes; speed does not depend on values."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from lipsync_cli.generate.lip_forcing.arithmetic import stage_costs
from lipsync_cli.generate.lip_forcing.config import LipForcingConfig
from lipsync_cli.generate.lip_forcing.generator import LipForcing
from lipsync_cli.generate.lip_forcing.hearing import SAMPLE_RATE
from lipsync_cli.generate.lip_forcing.load import accelerate, random_networks
from lipsync_cli.generate.protocol import NO_MEL, CropChunk, WaveSpan
from lipsync_cli.types import Alignment, Crop

WARM_UP = 3
"""Chunks before measuring: the views of the window differ up to the third, and compilation ends with it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the generator alone, without faces, composition and encoding.

    ``first_frame_s``: from the first chunk's crops to its pictures, everything warm. ``shares``: of a steady chunk's
    time, by stage. ``flops_per_s``: operations counted over time taken. ``memory_bytes``: the device's peak.
    """

    device: str
    dtype: str
    chunks: int
    fps: float
    first_frame_s: float
    shares: dict[str, float]
    flops_per_s: float
    memory_bytes: int | None


def time_random(
    config: LipForcingConfig,
    *,
    device: torch.device,
    dtype: torch.dtype,
    chunks: int = 6,
    float8: bool = False,
    compile: bool = False,
) -> Timing:
    """Measure ``chunks`` chunks of the steady state, after a warm-up of their own."""
    networks = random_networks(config, device=device, dtype=dtype)
    accelerate(networks, float8=float8, compile=compile)
    generator = LipForcing(networks, config)
    _run(generator, WARM_UP)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steady = _run(generator, WARM_UP + chunks)
    parts = _stages(generator, WARM_UP + chunks)
    seconds = float(np.median(steady[WARM_UP:]))
    return Timing(
        device=_device_name(device),
        dtype="float8" if float8 else str(dtype).removeprefix("torch."),
        chunks=chunks,
        fps=config.chunk_frames / seconds,
        first_frame_s=steady[0],
        shares={stage: taken / sum(parts.values()) for stage, taken in parts.items()},
        flops_per_s=sum(cost.flops for cost in stage_costs(config)) / seconds,
        memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


def _run(generator: LipForcing, chunks: int) -> list[float]:
    """Seconds of each chunk of a fresh segment."""
    config, taken = generator.config, []
    state = generator.begin([], Fraction(0), seed=0)
    blank = np.full((config.crop_size, config.crop_size, 3), 128, np.uint8)
    crop = Crop(blank, Alignment(np.eye(2, 3), config.crop_size), np.zeros((68, 2)))
    for index in range(chunks):
        count = config.chunk_frames if index else config.first_chunk_frames
        times = tuple(Fraction(state.frames + i, config.rate) for i in range(count))
        low = max(0, round((times[0] - generator.spec.audio_before_s) * SAMPLE_RATE))
        high = round((times[-1] + generator.spec.audio_after_s) * SAMPLE_RATE)
        wave = WaveSpan(np.zeros(high - low, np.float32), low)
        began = _now(generator.device)
        generator.step(state, CropChunk((crop,) * count, times, NO_MEL, np.zeros(count, np.float32), wave))
        taken.append(_now(generator.device) - began)
    return taken


def _stages(generator: LipForcing, chunks: int) -> dict[str, float]:
    """Seconds by stage of the last chunks; the device is waited for after each, so their sum is an upper bound."""
    spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def watch(stage: str) -> Iterator[None]:
        began = _now(generator.device)
        yield
        spent[stage].append(_now(generator.device) - began)

    plain, generator.watch = generator.watch, watch
    try:
        _run(generator, chunks)
    finally:
        generator.watch = plain
    return {stage: float(np.median(taken[WARM_UP:])) for stage, taken in spent.items()}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
