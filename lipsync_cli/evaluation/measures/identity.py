"""Whether a dubbed face is still the same person: CSIM over dlib's face embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def cosine_similarity(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cosine of two embeddings ``[d]``, in [−1, 1]. Raises ValueError for a zero vector."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    if length < 1e-12:
        raise ValueError("an embedding of length zero has no direction")
    return float(first @ second) / length
