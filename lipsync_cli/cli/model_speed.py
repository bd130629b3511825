"""``lipsync models cost`` and ``lipsync models time``: what a large model asks of a machine, counted and measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli import hub
from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.errors import UsageError

if TYPE_CHECKING:
    from lipsync_cli.generate.lip_forcing.config import LipForcingConfig

SCHEMA = 1

Name = Annotated[
    str, typer.Argument(metavar="NAME|PATH", help="A Lip Forcing model.", autocompletion=o.complete_models)
]
Flops = Annotated[float, typer.Option("--tflops", min=0.001, help="Teraflops a second the device sustains.")]
Bandwidth = Annotated[float, typer.Option("--bandwidth", min=0.001, help="Gigabytes a second of its memory.")]
Chunks = Annotated[int, typer.Option(min=1, max=1000, help="Chunks to measure.")]
Dtype = Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float8", help="Arithmetic of the model.")]
Compile = Annotated[bool, o.flag("--compile", help="Compile the model first.")]
Encoder = Annotated[str | None, typer.Option(metavar="wan|taew", help="Encoder of the crops; default: the card's.")]


def model_cost(
    name: Name, tflops: Flops = 400.0, bandwidth: Bandwidth = 3000.0, encoder: Encoder = None,
    as_json: o.Json = False, debug: o.Debug = False,
) -> None:  # fmt: skip
    """Count operations and bytes of each stage, and the speed they allow."""
    config = _config(name, encoder)
    from lipsync_cli.generate.lip_forcing.arithmetic import forecast, memory_bytes, stage_costs

    costs, best = stage_costs(config), forecast(config, tflops * 1e12, bandwidth * 1e9)
    held = memory_bytes(config)
    if as_json:
        stages = [asdict(cost) | {"seconds": best.seconds[cost.stage]} for cost in costs]
        emit_json({"schema": SCHEMA, "model": name, "stages": stages, "fps": best.fps,
                   "first_frame_s": best.first_frame_s, "memory_bytes": held})  # fmt: skip
        return
    total = sum(best.seconds.values())
    rows = [
        (c.stage, f"{c.flops / 1e12:.2f}", f"{c.bytes / 1e9:.2f}", f"{1e3 * best.seconds[c.stage]:.1f}",
         f"{100 * best.seconds[c.stage] / total:.0f} %")
        for c in costs
    ]  # fmt: skip
    emit_table(("stage", "TFLOP", "GB read", "ms at best", "share"), rows)
    emit_lines([
        f"per chunk of {config.chunk_frames} frames at {tflops:g} TFLOP/s and {bandwidth:g} GB/s: "
        f"at most {best.fps:.1f} frames per second, first frame after {best.first_frame_s:.2f} s",
        f"memory: {sum(held.values()) / 1e9:.1f} GB of weights, keys and values",
    ])  # fmt: skip


def model_time(
    name: Name, chunks: Chunks = 6, device: o.Device = None, dtype: Dtype = "auto", compile: Compile = False,
    encoder: Encoder = None, as_json: o.Json = False, debug: o.Debug = False,
) -> None:  # fmt: skip
    """Measure the speed of a model here, with random weights of its shapes; nothing is downloaded."""
    config = _config(name, encoder)
    if dtype not in ("auto", "float32", "bfloat16", "float8"):
        raise UsageError(f"--dtype cannot be {dtype!r}: expected auto, float32, bfloat16, float8.")
    import torch

    from lipsync_cli.generate.lip_forcing.timing import time_random
    from lipsync_cli.generate.registry import choose_device, choose_dtype

    chosen = choose_device(device or "auto")
    timing = time_random(
        config, device=torch.device(chosen), dtype=choose_dtype(dtype, chosen), chunks=chunks,
        float8=dtype == "float8", compile=compile,
    )  # fmt: skip
    if as_json:
        emit_json({"schema": SCHEMA, "model": name, **asdict(timing)})
        return
    emit_lines([
        f"{name} on {timing.device}, {timing.dtype}, random weights, {timing.chunks} chunks",
        f"{timing.fps:.2f} frames per second, first frame after {timing.first_frame_s:.3f} s, "
        f"{timing.flops_per_s / 1e12:.3g} TFLOP/s",
        *([f"{timing.memory_bytes / 1e9:.1f} GB at most"] if timing.memory_bytes is not None else []),
    ])  # fmt: skip
    emit_table(("stage", "share"), [(stage, f"{100 * share:.1f} %") for stage, share in timing.shares.items()])


def _config(name: str, encoder: str | None) -> LipForcingConfig:
    card = hub.load_card(name)
    if card.kind != "lip-forcing":
        raise UsageError(
            f"Model {card.name} is no Lip Forcing model.", hint="Try lip-forcing-14b or lip-forcing-1.3b."
        )
    from lipsync_cli.generate.lip_forcing.config import read_config

    table = card.generator if encoder is None else {**card.generator, "encoder": encoder}
    return read_config(table, model=card.name)
