"""Sounds at 16 kHz."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    """A sine of amplitude 0.3."""
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)
