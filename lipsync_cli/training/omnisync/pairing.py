"""Which two windows make a training pair without a mask: it depends on the noise level (OmniSync, arXiv 2505.21448).

High noise decides layout and pose, so there condition and target are pseudo-pairs: the same person in nearly the same
pose with other lips, from which "keep what the condition shows" is learnt. Below a threshold the layout is in the
noisy target already, and any two windows of a clip that do not overlap will do. So σ is drawn first, for every sample
by itself. Condition and target are never the same window: that would teach to copy the lips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.landmarks68 import LEFT_EYE, RIGHT_EYE, lip_gap
from lipsync_cli.core.types import Float32, Float64
from lipsync_cli.training.common.recipes import Count, FlowTime, Recipe, Share, Shift, Weight

RIGID = (36, 39, 42, 45, 27, 28, 29, 30)
"""Corners of the eyes and the bridge of the nose: what speech does not move."""
NORMAL = NormalDist()


class SigmaDensity(Recipe):
    """The density of σ: u uniform, or logistic of a normal variable (``mean``, ``spread``), then moved by ``shift``.

    σ = s·u / (1 + (s − 1)·u); a shift of 1 changes nothing. Esser et al. (2024), section 3.1.
    """

    kind: Literal["uniform", "logit-normal"] = "uniform"
    shift: Shift = 1.0
    mean: Annotated[float, Field(ge=-10, le=10)] = 0.0
    spread: Annotated[float, Field(gt=0, le=10)] = 1.0

    def quantile(self, share: float) -> float:
        """The σ below which ``share`` in [0, 1] of the draws fall."""
        u = share
        if self.kind == "logit-normal":
            inside = min(max(share, 1e-12), 1 - 1e-12)
            u = float(1 / (1 + np.exp(-(self.mean + self.spread * NORMAL.inv_cdf(inside)))))
        return self.shift * u / (1 + (self.shift - 1) * u)

    def share_above(self, sigma: float) -> float:
        """The share of the draws above ``sigma``."""
        u = sigma / (self.shift - (self.shift - 1) * sigma)
        if self.kind == "logit-normal":
            if not 0 < u < 1:
                return float(u <= 0)
            return 1 - NORMAL.cdf((float(np.log(u / (1 - u))) - self.mean) / self.spread)
        return 1 - u

    def draw(self, rng: np.random.Generator) -> float:
        """One σ in (0, 1)."""
        return min(max(self.quantile(float(rng.random())), 1e-3), 1 - 1e-3)


class PairingRule(Recipe):
    """When two windows may be a pair.

    Above ``threshold`` pairs are pose-aligned. ``keep`` is the unit of that number: ``sigma`` itself, or the
    ``share`` of the draws that lie above, which a shifted density would otherwise change threefold. ``pose`` is the
    most that rigid landmarks may differ, in inter-ocular distances, mean over a window; ``lips`` the least that the
    opening of the lips must differ. ``gap`` windows lie between two of a clip. ``candidates`` clips are searched for
    a pseudo-pair before an arbitrary one is taken instead.
    """

    threshold: FlowTime = 0.85
    keep: Literal["sigma", "share"] = "sigma"
    pose: Weight = 0.015
    lips: Weight = 0.01
    gap: Weight = 1.0
    candidates: Count = 8

    def sigma(self, density: SigmaDensity) -> float:
        """The threshold as a σ."""
        return self.threshold if self.keep == "sigma" else density.quantile(1 - self.threshold)


class ConditionDropout(Recipe):
    """Shares of samples without sound and without text; ``both`` is part of each."""

    audio: Share = 0.15
    text: Share = 0.10
    both: Share = 0.05

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.both > min(self.audio, self.text) or self.audio + self.text - self.both > 1:
            raise ValueError(f"shares of dropped conditions do not fit together: {self}")
        return self

    def draw(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether a sample has its sound, and its text."""
        u = float(rng.random())
        dropped_audio = u < self.audio
        return not dropped_audio, not self.audio - self.both <= u < self.audio - self.both + self.text


@dataclass(frozen=True, slots=True)
class PairClip:
    """What pairing needs of a clip, one row for each position a window may begin at or cover.

    ``rigid`` ``[n p 2]`` and ``gaps`` ``[n]``, the lips' opening, in inter-ocular distances of the aligned crop.
    Crops share their position, scale and tilt, so what is left to differ is the turn of the head and the face.
    """

    speaker: str
    rigid: Float32
    gaps: Float32

    @classmethod
    def of(cls, speaker: str, landmarks: npt.NDArray[np.floating]) -> PairClip:
        """From 68 landmarks ``[n 68 2]`` in crop pixels."""
        points = np.asarray(landmarks, np.float64)
        eyes = points[:, list(LEFT_EYE)].mean(1) - points[:, list(RIGHT_EYE)].mean(1)
        apart = float(np.median(np.linalg.norm(eyes, axis=-1)))
        rigid = points[:, list(RIGID)] / max(apart, 1e-6)
        gaps = lip_gap(points) / max(apart, 1e-6)
        return cls(speaker, rigid.astype(np.float32), gaps.astype(np.float32))

    def __len__(self) -> int:
        return len(self.rigid)


@dataclass(frozen=True, slots=True)
class EditPair:
    """Windows of equal length: of ``source_clip`` from ``source``, the condition, and of ``clip`` from ``target``.

    ``aligned``: a pseudo-pair. ``missed``: one was wanted and none was found.
    """

    clip: int
    target: int
    source_clip: int
    source: int
    aligned: bool = False
    missed: bool = False


class PairSampler:
    """Draws pairs of windows of ``frames`` rows; a draw is a function of the generator it is given."""

    def __init__(self, clips: Sequence[PairClip], frames: int, rule: PairingRule, density: SigmaDensity) -> None:
        self._clips, self._frames, self._rule = clips, frames, rule
        self.threshold = rule.sigma(density)
        self._distance = frames + round(rule.gap * frames)
        self._by_speaker: dict[str, list[int]] = defaultdict(list)
        for index, clip in enumerate(clips):
            if len(clip) >= frames:
                self._by_speaker[clip.speaker].append(index)
        wide = [index for index, clip in enumerate(clips) if len(clip) >= self._distance + frames]
        if not wide:
            longest = max(map(len, clips), default=0)
            raise InputError(
                f"No clip is long enough for two windows of {frames} latent frames with a gap between them: "
                f"{self._distance + frames} are needed, the longest has {longest}.",
                hint="Train on shorter windows, or prepare longer clips.",
            )
        self._wide, self._wide_weights = wide, self._weights(wide)
        able = [index for own in self._by_speaker.values() for index in own]
        self._able, self._able_weights = able, self._weights(able)

    def draw(self, sigma: float, rng: np.random.Generator) -> EditPair:
        """A pair for a target at ``sigma``."""
        if sigma <= self.threshold:
            return self._arbitrary(rng)
        return self._pseudo(rng) or self._arbitrary(rng, missed=True)

    def _arbitrary(self, rng: np.random.Generator, *, missed: bool = False) -> EditPair:
        """Two windows of one clip with the gap between them, either of which may be first."""
        index = self._wide[int(rng.choice(len(self._wide), p=self._wide_weights))]
        room = len(self._clips[index]) - self._frames - self._distance
        first, second = np.sort(rng.integers(0, room + 1, 2))
        second += self._distance
        source, target = (first, second) if rng.random() < 0.5 else (second, first)
        return EditPair(index, int(target), index, int(source), missed=missed)

    def _pseudo(self, rng: np.random.Generator) -> EditPair | None:
        """A random window, and a random one among those of its speaker of the same pose with other lips."""
        index = self._able[int(rng.choice(len(self._able), p=self._able_weights))]
        target = int(rng.integers(0, len(self._clips[index]) - self._frames + 1))
        own = self._by_speaker[self._clips[index].speaker]
        candidates = rng.permutation(own)[: self._rule.candidates]
        found = [(int(other), int(start)) for other in candidates for start in self._alike(index, target, int(other))]
        if not found:
            return None
        other, start = found[int(rng.integers(len(found)))]
        return EditPair(index, target, other, start, aligned=True)

    def _alike(self, index: int, target: int, other: int) -> npt.NDArray[np.int64]:
        """Where windows of clip ``other`` begin that are a pseudo-pair with the one at ``target`` of ``index``."""
        here, there, rule = self._clips[index], self._clips[other], self._rule
        window = slice(target, target + self._frames)
        accepted = pose_distances(here.rigid[window], there.rigid) < rule.pose
        accepted &= _mean_apart(np.abs(here.gaps[window, None] - there.gaps[None])) >= rule.lips
        starts = np.arange(len(accepted))
        if other == index:
            accepted &= np.abs(starts - target) >= self._frames
        return starts[accepted]

    def _weights(self, chosen: Sequence[int]) -> Float64:
        """Speakers weigh with the square root of their rows, clips of a speaker with theirs."""
        rows = np.array([len(self._clips[index]) for index in chosen], float)
        total: dict[str, float] = defaultdict(float)
        for index, count in zip(chosen, rows, strict=True):
            total[self._clips[index].speaker] += count
        weights = rows / np.sqrt([total[self._clips[index].speaker] for index in chosen])
        return np.asarray(weights / weights.sum())


def pose_distances(window: Float32, clip: Float32) -> Float64:
    """Mean distance of rigid points between a window ``[n p 2]`` and every window of a clip ``[m p 2]``: ``[m-n+1]``.

    Frame by frame, without any further alignment.
    """
    return _mean_apart(np.linalg.norm(window[:, None] - clip[None], axis=-1).mean(-1))


def _mean_apart(apart: npt.NDArray[np.floating]) -> Float64:
    """Means over the diagonals of ``[n m]`` that lie whole inside it: ``[m - n + 1]``."""
    n, m = apart.shape
    if m < n:
        return np.zeros(0)
    starts = np.arange(m - n + 1)
    return np.asarray(apart[np.arange(n)[:, None], starts[None] + np.arange(n)[:, None]].mean(0), np.float64)
