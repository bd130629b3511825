"""How far the mouth encoder is off about a person, told from the face's landmarks.

It reads the shape of a mouth from pictures of a few dozen people and may miss where the lips of another one lie: a
broad smile was read a fifth of the mouth's width too low. Displacement then moves the wrong pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lipsync_cli.engines.mini.nn.landmark_flow import INNER_LOWER, INNER_UPPER, LIPS

# Root mean square misreading of the lips, in crop widths, at which half of it is corrected. Most people's is 0.008,
# of which a part is the landmarks' own; what was trained with it needs no correction.
USUAL = 0.02
# Indices into the points of the lips but for their corners.
UPPER, LOWER = [1, 2, 3, 4, 5, 13, 14, 15], [7, 8, 9, 10, 11, 17, 18, 19]


class Calibration(NamedTuple):
    """What to add to points ``[29 2]`` in crop fractions: to those of ``references`` and to ``wanted`` ones."""

    references: Tensor
    wanted: Tensor


def calibrate(encoded: Tensor, measured: Tensor, *, still: bool) -> Calibration:
    """From points ``[n 29 2]`` as the mouth encoder has them (``encoded``) and as the landmarks do (``measured``).

    Wanted lips are moved as the references' are, for what is wrong about a face is so in all its states. But where
    all references show one state (``still``) they cannot tell whether a mouth that is read as nearly closed is so:
    then wanted lips keep the aperture that they ask for.
    """
    missed = (measured - encoded).mean(0)
    size = missed[: len(LIPS)].square().sum(-1).mean()
    references = missed * (size / (size + USUAL**2))
    if not still:
        return Calibration(references, references)
    wanted = references.clone()
    gape = (references[INNER_LOWER] - references[INNER_UPPER]).mean(0) / 2
    wanted[UPPER] += gape
    wanted[LOWER] -= gape
    return Calibration(references, wanted)
