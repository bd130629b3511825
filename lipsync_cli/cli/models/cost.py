"""``lipsync models cost``: what a large model asks of a machine, counted. ``lipsync bench`` measures it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli import hub
from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.core.errors import UsageError

if TYPE_CHECKING:
    from lipsync_cli.engines.lip_forcing.cost import Forecast, StageCost

SCHEMA = 1

Name = Annotated[
    str,
    typer.Argument(metavar="NAME|PATH", help="A Lip Forcing or LatentSync model.", autocompletion=o.complete_models),
]
Flops = Annotated[float, typer.Option("--tflops", min=0.001, help="Teraflops a second the device sustains.")]
Bandwidth = Annotated[float, typer.Option("--bandwidth", min=0.001, help="Gigabytes a second of its memory.")]
Encoder = Annotated[str | None, typer.Option(metavar="wan|taew", help="Encoder of the crops; default: the card's.")]


def model_cost(
    name: Name, tflops: Flops = 400.0, bandwidth: Bandwidth = 3000.0, encoder: Encoder = None,
    as_json: o.Json = False,
) -> None:  # fmt: skip
    """Count operations and bytes of each stage, and the speed they allow."""
    frames, costs, best, held = _counted(hub.load_card(name), encoder, tflops * 1e12, bandwidth * 1e9)
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
        f"per chunk of {frames} frames at {tflops:g} TFLOP/s and {bandwidth:g} GB/s: "
        f"at most {best.fps:.1f} frames per second, first frame after {best.first_frame_s:.2f} s",
        f"memory: {sum(held.values()) / 1e9:.1f} GB of {_listed(held)}",
    ])  # fmt: skip


def _counted(
    card: hub.ModelCard, encoder: str | None, flops: float, bandwidth: float
) -> tuple[int, tuple[StageCost, ...], Forecast, dict[str, float]]:
    """Frames of a chunk, what each stage costs, what a device could do at best, and what it must hold."""
    if card.kind == "latentsync":
        from lipsync_cli.engines.latentsync import cost as latentsync
        from lipsync_cli.engines.latentsync.config import read_config as read_latentsync

        if encoder is not None:
            raise UsageError(f"Model {card.name} has one encoder of crops.", hint="Leave out --encoder.")
        sizes = read_latentsync(card.generator, model=card.name)
        best = latentsync.forecast(sizes, flops, bandwidth)
        return sizes.chunk, latentsync.stage_costs(sizes), best, latentsync.memory_bytes(sizes)
    if card.kind != "lip-forcing":
        raise UsageError(
            f"Model {card.name} is no Lip Forcing or LatentSync model.",
            hint="Try lip-forcing-14b, lip-forcing-1.3b or latentsync-1.6.",
        )
    from lipsync_cli.engines.lip_forcing.config import read_config
    from lipsync_cli.engines.lip_forcing.cost import forecast, memory_bytes, stage_costs

    table = card.generator if encoder is None else {**card.generator, "encoder": encoder}
    config = read_config(table, model=card.name)
    best = forecast(config, flops, bandwidth)
    return config.chunk_frames, stage_costs(config), best, memory_bytes(config)


def _listed(held: dict[str, float]) -> str:
    return "weights, keys and values" if "keys and values" in held else "weights"
