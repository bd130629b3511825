"""Where the head of ``lipsync_cli.synthetic.draw_head`` has its face."""

from __future__ import annotations

import numpy as np

from lipsync_cli.core.types import Box
from lipsync_cli.faces.mean_face import MEAN_FACE


def head_box(width: int = 480, height: int = 360, center: tuple[float, float] = (0.5, 0.45)) -> Box:
    """The box, from mid-forehead to chin, of the face that ``draw_head`` draws with these arguments."""
    size = 0.42 * height
    x, y = np.array(center) * (width, height) - MEAN_FACE[27:48, :2].mean(0) * size
    return (float(x), float(y), float(x) + size, float(y) + size)
