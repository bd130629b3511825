"""The pictures of one person that drawings are made from: a bank that learns new mouths while a segment goes on.

Whoever begins with closed lips would otherwise be drawn from closed lips for ever, and whoever turns their head from
pictures with a wall where the cheek is. The bank depends on the crops that came before in their order, and on nothing
else, so that chunks of any size give the same drawings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Float32
from lipsync_cli.engines.mini import warping_opencv
from lipsync_cli.engines.mini.head_motion import Pose
from lipsync_cli.engines.mini.nn.calibration import Calibration
from lipsync_cli.engines.mini.nn.landmark_flow import JAW_LINE, LIPS, squared_lip_distance
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.renderer import References, Renderer

# Root mean square difference of the lips, and a part of the outline's, in crop widths, from which on a crop is new.
NOVEL = 0.005
# Crops over which a new picture is let in, so that nothing jumps, and how much worse it seems at first.
EASE, RESERVE = 10, 0.02
# Only every so many crops one is looked at, since neighbours show nearly the same.
OFFER_EVERY = 5


class ReferenceBank:
    """At most ``capacity`` references of one face, as the renderer takes them.

    ``pictures`` are their pixels for ``warping_opencv``, if ``on_cpu``; the references themselves then hold none.
    """

    def __init__(
        self,
        encoder: MouthEncoder,
        renderer: Renderer,
        pixels: Tensor,
        poses: list[Pose],
        *,
        network_size: int,
        capacity: int,
        on_cpu: bool,
        calibration: Calibration | None = None,
    ) -> None:
        """``pixels`` ``[n 3 s s]`` in [0, 1] with their ``poses`` are in it from the start."""
        self._calibration = calibration
        self._encoder, self._renderer = encoder, renderer
        self._network_size, self._capacity, self._on_cpu = network_size, capacity, on_cpu
        self._passed = 0
        self._poses, self._ages = poses, [EASE] * len(poses)
        self.home = Pose.mean(poses)
        self._references = self._encode(pixels, encoder(pixels.float()), poses)
        self.pictures: list[Float32] = list(warping_opencv.pictures(pixels)) if on_cpu else []

    @property
    def states(self) -> Tensor:
        """z of all references ``[n d]``."""
        return self._references.z[0].float()

    def references(self, pose: Pose) -> References:
        """All of them, for a crop in which the head is held so."""
        known = self._references
        reserve = RESERVE**2 * np.square([1 - min(1.0, age / EASE) for age in self._ages])
        penalty = torch.from_numpy((pose.distance(self._poses) + reserve).astype(np.float32))
        mouth, drop = pose.offset_from(self.home)
        shift = known.shift.clone()
        shift[:, : len(LIPS)] += torch.from_numpy(mouth).to(shift)
        shift[:, JAW_LINE, 1] += drop
        shift[:, JAW_LINE, 0] = 0  # columns are the landmarks' own, in references and in what is wanted
        return known._replace(penalty=penalty.to(known.penalty)[None], shift=shift)

    def _encode(self, pixels: Tensor, z: Tensor, poses: list[Pose]) -> References:
        points = self._encoder.landmarks(z)
        references = self._renderer.encode_references(
            pixels[None],
            z[None].to(pixels.dtype),
            points[None].to(pixels.dtype),
            network_size=self._network_size,
            calibration=self._calibration,
        )
        columns = torch.from_numpy(np.stack([pose.jaw_columns for pose in poses]))
        references.places[0, :, JAW_LINE, 0] = columns.to(references.places)
        return references._replace(pixels=references.pixels[..., :0]) if self._on_cpu else references

    def wants(self) -> bool:
        """Whether the next crop should be offered; counts it."""
        self._passed += 1
        self._ages = [age + 1 for age in self._ages]
        return self._passed % OFFER_EVERY == 0

    def calibrated(self, points: Tensor) -> Tensor:
        """Points ``[b 29 2]`` as the mouth encoder reads them from a crop, put where this person's landmarks lie."""
        return points if self._calibration is None else points + self._calibration.references.to(points)

    def admit(self, pixels: Tensor, z: Tensor, pose: Pose, *, age: int = 0) -> bool:
        """Take a crop ``[1 3 s s]`` with its state ``[1 d]`` in if its mouth is a new one, when full in place of the
        one that adds least."""
        known = self._references.points[0].float()
        novelty = _distance(self._encoder.landmarks(z), known, pose, self._poses).min()
        if novelty < NOVEL**2:
            return False
        if len(known) >= self._capacity:
            spare, distance = self._most_redundant()
            if novelty <= distance:
                return False
            self._drop(spare)
        self._references = self._references.joined(self._encode(pixels, z, [pose]))
        self._poses, self._ages = [*self._poses, pose], [*self._ages, age]
        if self._on_cpu:
            self.pictures.extend(warping_opencv.pictures(pixels))
        return True

    def _drop(self, index: int) -> None:
        kept = [i for i in range(len(self._poses)) if i != index]
        self._references = self._references.only(kept)
        self._poses, self._ages = [self._poses[i] for i in kept], [self._ages[i] for i in kept]
        if self._on_cpu:
            del self.pictures[index]

    def _most_redundant(self) -> tuple[int, float]:
        """The older one of the two references that are most alike, and how unlike they are, squared."""
        points = self._references.points[0].float()
        unlike = np.stack([_distance(points[i], points, pose, self._poses) for i, pose in enumerate(self._poses)])
        np.fill_diagonal(unlike, np.inf)
        first, second = divmod(int(unlike.argmin()), len(points))
        return min(first, second), float(unlike[first, second])


def _distance(points: Tensor, known: Tensor, pose: Pose, poses: list[Pose]) -> Float32:
    """Squared, of lips at ``points`` ``[… 29 2]`` and ``pose`` from each of n."""
    lips = squared_lip_distance(points, known).cpu().numpy()
    return np.asarray(lips + pose.distance(poses), np.float32)
