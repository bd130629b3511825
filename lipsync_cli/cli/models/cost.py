"""``lipsync models cost``: what a model asks of a machine, counted. ``lipsync bench`` measures it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli import hub
from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.core.errors import UsageError

if TYPE_CHECKING:
    from lipsync_cli.engines.cost import ModelCost

SCHEMA = 1

Name = Annotated[str, typer.Argument(metavar="NAME|PATH", help="A large model.", autocompletion=o.complete_models)]
Flops = Annotated[float, typer.Option("--tflops", min=0.001, help="Teraflops a second the device sustains.")]
Bandwidth = Annotated[float, typer.Option("--bandwidth", min=0.001, help="Gigabytes a second of its memory.")]


def model_cost(
    name: Name,
    tflops: Flops = 400.0,
    bandwidth: Bandwidth = 3000.0,
    options: o.EngineOption = None,
    as_json: o.Json = False,
) -> None:
    """Count operations and bytes of each stage, and the speed they allow."""
    cost = _counted(hub.load_card(name), o.parse_options(options))
    best = cost.forecast(tflops * 1e12, bandwidth * 1e9)
    if as_json:
        stages = [asdict(stage) | {"seconds": best.seconds[stage.stage]} for stage in cost.stages]
        emit_json({"schema": SCHEMA, "model": name, "stages": stages, "fps": best.fps,
                   "first_frame_s": best.first_frame_s, "memory_bytes": dict(cost.memory)})  # fmt: skip
        return
    total = sum(best.seconds.values())
    rows = [
        (s.stage, f"{s.flops / 1e12:.2f}", f"{s.bytes / 1e9:.2f}", f"{1e3 * best.seconds[s.stage]:.1f}",
         f"{100 * best.seconds[s.stage] / total:.0f} %")
        for s in cost.stages
    ]  # fmt: skip
    emit_table(("stage", "TFLOP", "GB read", "ms at best", "share"), rows)
    emit_lines([
        f"per chunk of {cost.frames} frames at {tflops:g} TFLOP/s and {bandwidth:g} GB/s: "
        f"at most {best.fps:.1f} frames per second, first frame after {best.first_frame_s:.2f} s",
        f"memory: {sum(cost.memory.values()) / 1e9:.1f} GB of {_listed(cost)}",
    ])  # fmt: skip


def _counted(card: hub.ModelCard, given: dict[str, str]) -> ModelCost:
    from lipsync_cli.engines.options import read_options
    from lipsync_cli.engines.registry import engine_of

    engine = engine_of(card)
    options = read_options(engine, card, given, {})
    cost = engine.cost(engine.configure(engine.read(card), options))
    if cost is None:
        raise UsageError(
            f"Nobody has counted what model {card.name} costs.",
            hint="Try lip-forcing-14b, latentsync-1.6 or omnisync; lipsync bench measures any model.",
        )
    return cost


def _listed(cost: ModelCost) -> str:
    return "weights, keys and values" if "keys and values" in cost.memory else "weights"
