"""From a video to an adapter file: collect, train, and write what is better than the model as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli import hub
from lipsync_cli.core.contact_sheets import label, save_png, scale_to
from lipsync_cli.core.errors import ModelError, UsageError
from lipsync_cli.core.types import UInt8
from lipsync_cli.engines.devices import choose_device
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.mini.adapter import AdapterInfo, require_adaptable, write_adapter
from lipsync_cli.engines.mini.generator import LipForcingMini
from lipsync_cli.media.output import PartialFile, check_place
from lipsync_cli.settings import DubSettings
from lipsync_cli.training.adapt.adaptation_set import OnFrame, collect
from lipsync_cli.training.adapt.trainer import Adaptation, AdaptationTrainer, AdaptRecipe, HeldOutCheck, adapt

SCHEMA = 1
SUFFIX = ".safetensors"
SHEET_COLUMNS, SHEET_PX = 8, 200


@dataclass(frozen=True, slots=True)
class AdaptRequest:
    """What one ``lipsync adapt`` is to do; training ends after ``steps`` or ``minutes``, whichever is over first."""

    video: Path
    output: Path
    settings: DubSettings
    start: Fraction | None = None
    end: Fraction | None = None
    minutes: float | None = 3.0
    steps: int | None = None
    sheet: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class AdaptReport:
    """The result of one ``lipsync adapt``; ``seconds`` are those of training."""

    request: AdaptRequest
    model: hub.ModelCard
    adaptation: Adaptation
    frames: int
    usable: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, ``schema`` first."""
        output, adaptation = self.request.output, self.adaptation
        return {
            "schema": SCHEMA,
            "adapter": str(output),
            "sha256": sha256(output.read_bytes()).hexdigest(),
            "bytes": output.stat().st_size,
            "model": {"name": self.model.name, "version": self.model.version, "sha256": self.model.sha256},
            "video": str(self.request.video),
            "frames": self.frames,
            "frames_usable": self.usable,
            "frames_held_out": adaptation.held_out,
            "seed": self.request.settings.seed,
            "steps": adaptation.step,
            "steps_trained": adaptation.steps,
            "seconds": round(self.seconds, 1),
            "before": asdict(adaptation.before),
            "after": asdict(adaptation.after),
        }


def adapt_video(
    request: AdaptRequest,
    *,
    on_frame: OnFrame = lambda done, total: None,
    on_check: Callable[[HeldOutCheck, float], None] = lambda check, seconds: None,
) -> AdaptReport:
    """Fit the model to a video and write the adapter, and a sheet if wanted; ``on_check`` gets seconds of training.

    Raises the errors of ``lipsync_cli.core.errors``, ModelError when held-out frames gained nothing; then no
    adapter is written, and one that was there stays.
    """
    generator, card = _prepare(request)
    spec = generator.spec
    frames = collect(
        request.video, request.settings, template=spec.template, size=spec.crop_size, device=str(generator.device),
        start=request.start, end=request.end, on_frame=on_frame,
    )  # fmt: skip
    config = generator.config
    recipe = AdaptRecipe(sharpen=config.sharpen, network_size=config.input_size, seed=request.settings.seed)
    trainer = AdaptationTrainer(generator.networks, frames, recipe)
    pictures = [trainer.pictures()] if request.sheet else []
    began = time.monotonic()
    adaptation = adapt(
        trainer,
        steps=request.steps,
        stop=lambda: request.minutes is not None and time.monotonic() - began >= 60 * request.minutes,
        on_check=lambda check: on_check(check, time.monotonic() - began),
    )
    report = AdaptReport(request, card, adaptation, len(frames), frames.usable, time.monotonic() - began)
    if request.sheet is not None:
        real = [frames.crops[index] for index in trainer.held]
        save_sheet(request.sheet, {"real": real, "before": pictures[0], "after": trainer.pictures()})
    _require_gain(adaptation)
    _write(report)
    return report


def _prepare(request: AdaptRequest) -> tuple[LipForcingMini, hub.ModelCard]:
    """The generator whose networks will be trained, once it is sure that there is something to do."""
    settings = request.settings
    if request.output.suffix != SUFFIX:
        raise UsageError(f"{request.output} is no name for an adapter.", hint=f"It ends in {SUFFIX}.")
    if request.steps is None and request.minutes is None:
        raise UsageError("Neither steps nor minutes limit the training.")
    check_place(request.output, [request.video], overwrite=request.overwrite)
    card = hub.load_card(settings.model)
    require_adaptable(card)
    device = choose_device(settings.device)
    generator = load_model(card, placement=Placement(device, "float32", settings.threads))
    assert isinstance(generator, LipForcingMini)
    return generator, card


def _require_gain(adaptation: Adaptation) -> None:
    if not adaptation.changes:
        raise ModelError(
            f"Adapting gained nothing: in {adaptation.steps} steps no state was better than the model as it is on "
            f"the held-out frames (error {adaptation.before.error:.4f}). No adapter was written.",
            hint="Dub without one, or give it a longer part of the video or more --minutes.",
        )


def _write(report: AdaptReport) -> None:
    request, adaptation = report.request, report.adaptation
    info = AdapterInfo(
        model=report.model.name,
        base=report.model.sha256,
        source=request.video.name,
        frames=report.frames,
        steps=adaptation.step,
        seed=request.settings.seed,
        figures={"before": asdict(adaptation.before), "after": asdict(adaptation.after)},
    )
    file = PartialFile(request.output)
    try:
        write_adapter(file.path, adaptation.changes, info)
        file.commit()
    finally:
        file.discard()


def save_sheet(path: Path, rows: dict[str, Sequence[UInt8]]) -> None:
    """Rows of lower-face crops under their names, the same moments in every row, as PNG."""
    count = len(next(iter(rows.values())))
    chosen = np.linspace(0, count - 1, min(count, SHEET_COLUMNS)).round().astype(int)
    parts = []
    for name, pictures in rows.items():
        row = np.hstack([scale_to(_mouth_part(pictures[i]), SHEET_PX) for i in chosen])
        parts += [label(name, row.shape[1]), row]
    save_png(path, np.vstack(parts))


def _mouth_part(crop: UInt8) -> UInt8:
    """From the nose to the chin, where something changes."""
    unit = crop.shape[0] / 16
    return crop[round(5 * unit) :, round(2 * unit) : round(14 * unit)]
