"""The pictures of one person that drawings are made from: a bank that learns new mouths while a segment goes on.

Whoever begins with closed lips would otherwise be drawn from closed lips for ever. The bank depends on the crops
that came before in their order, and on nothing else, so that chunks of any size give the same drawings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.generate import cpu_drawing
from lipsync_cli.nn.calibration import Calibration
from lipsync_cli.nn.landmark_flow import lip_distance
from lipsync_cli.nn.mouth_encoder import MouthEncoder
from lipsync_cli.nn.renderer import References, Renderer
from lipsync_cli.types import Float32

# Root mean square difference of the lips, in crop widths, from which on a mouth is a new one.
NOVEL = 0.005
# Only every so many crops one is looked at, since neighbours show nearly the same.
OFFER_EVERY = 5


class ReferenceBank:
    """At most ``capacity`` references of one face, as the renderer takes them: ``references`` ``[1 n …]``.

    ``pictures`` are their pixels once more for ``cpu_drawing``, if ``on_cpu``.
    """

    def __init__(
        self,
        encoder: MouthEncoder,
        renderer: Renderer,
        pixels: Tensor,
        *,
        network_size: int,
        capacity: int,
        on_cpu: bool,
        calibration: Calibration | None = None,
    ) -> None:
        """``pixels`` ``[n 3 s s]`` in [0, 1] are in it from the start."""
        self._calibration = calibration
        self._encoder, self._renderer = encoder, renderer
        self._network_size, self._capacity, self._on_cpu = network_size, capacity, on_cpu
        self._passed = 0
        self.references = self._encode(pixels, encoder(pixels.float()))
        self.pictures: list[Float32] = list(cpu_drawing.pictures(pixels)) if on_cpu else []

    def _encode(self, pixels: Tensor, z: Tensor) -> References:
        points = self._encoder.landmarks(z)
        return self._renderer.encode_references(
            pixels[None],
            z[None].to(pixels.dtype),
            points[None].to(pixels.dtype),
            network_size=self._network_size,
            calibration=self._calibration,
        )

    def wants(self) -> bool:
        """Whether the next crop should be offered; counts it."""
        self._passed += 1
        return self._passed % OFFER_EVERY == 0

    def offer(self, pixels: Tensor) -> bool:
        """``admit`` a crop ``[1 3 s s]`` whose state has yet to be read."""
        return self.admit(pixels, self._encoder(pixels.float()))

    def admit(self, pixels: Tensor, z: Tensor) -> bool:
        """Take a crop ``[1 3 s s]`` with its state ``[1 d]`` in if its mouth is a new one, when full in place of the
        one that adds least."""
        known = self.references.points[0].float()
        novelty = float(lip_distance(self._encoder.landmarks(z), known).min())
        if novelty < NOVEL:
            return False
        if len(known) >= self._capacity:
            spare, distance = _most_redundant(known)
            if novelty <= distance:
                return False
            self._drop(spare)
        self.references = self.references.joined(self._encode(pixels, z))
        if self._on_cpu:
            self.pictures.extend(cpu_drawing.pictures(pixels))
        return True

    def _drop(self, index: int) -> None:
        kept = [i for i in range(len(self.references.z[0])) if i != index]
        self.references = self.references.only(kept)
        if self._on_cpu:
            del self.pictures[index]


def _most_redundant(points: Tensor) -> tuple[int, float]:
    """The older one of the two references ``[n 29 2]`` that are most alike, and their distance."""
    distances = lip_distance(points[:, None], points[None])
    distances.fill_diagonal_(torch.inf)
    first, second = divmod(int(distances.argmin()), len(points))
    return min(first, second), float(distances[first, second])
