"""``lipsync models cost``: what a large model asks of a machine, counted. ``lipsync bench`` measures it."""

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


def _config(name: str, encoder: str | None) -> LipForcingConfig:
    card = hub.load_card(name)
    if card.kind != "lip-forcing":
        raise UsageError(
            f"Model {card.name} is no Lip Forcing model.", hint="Try lip-forcing-14b or lip-forcing-1.3b."
        )
    from lipsync_cli.generate.lip_forcing.config import read_config

    table = card.generator if encoder is None else {**card.generator, "encoder": encoder}
    return read_config(table, model=card.name)
