"""Figures and previews for TensorBoard, where it is installed and asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.core.types import UInt8


class Board:
    """Writes event files into ``folder``. EnvironmentProblem where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise EnvironmentProblem(
                "--tensorboard needs the package tensorboard, which is not installed.",
                hint="Install it: pip install tensorboard. Without it the figures are in metrics.jsonl all the same.",
            ) from error
        self._writer = SummaryWriter(str(folder))

    def figures(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """One point on each of the stage's curves."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)

    def picture(self, stage: str, step: int, pixels: UInt8) -> None:
        """A preview, RGB ``[h w 3]``."""
        self._writer.add_image(f"{stage}/preview", pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still held."""
        self._writer.close()
