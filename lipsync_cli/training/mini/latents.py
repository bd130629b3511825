"""Sequences for the flow: mouth states of every prepared clip, with the audio windows that belong to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipsync_cli.core.types import Float32, Float64
from lipsync_cli.engines.mini.nn.flow_backbone import MEL_ROWS, ROWS_BEFORE
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.training.common.noise import step_seed
from lipsync_cli.training.common.recipes import Count
from lipsync_cli.training.common.runtime import ALONE, Runtime, device_of
from lipsync_cli.training.dataset.audio_augment import AudioAugmentRecipe, AudioVariant, audio_variants, augment_mel
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import ClipData, choose_references

ROWS_PER_FRAME = 4
WindowFrames = Annotated[tuple[Count, ...], Field(min_length=1)]
"""Lengths of the windows that batches take in turn, in latent frames."""


@dataclass(frozen=True, slots=True)
class LatentClip:
    """States ``[n d]``, mel rows with ``MEL_MARGIN`` of context each side, landmarks ``[n 68 2]`` in crop pixels.

    ``variants`` are augmentations of the sound, each drawn as often as the clip's own.
    """

    z: Tensor
    mel: Float32
    landmarks: Float32
    speaker: str
    variants: tuple[AudioVariant, ...] = ()


class FlowBatch(NamedTuple):
    """States ``[b n d]``, audio windows ``[b n 32 80]``, reference states ``[b r d]``; encoder units."""

    z: Tensor
    audio: Tensor
    references: Tensor


@torch.no_grad()
def encode_clips(
    encoder: MouthEncoder,
    clips: list[ClipData],
    augment: AudioAugmentRecipe | None = None,
    *,
    mirrored: bool = False,
) -> list[LatentClip]:
    """Run the encoder, wherever it is, over every frame of every clip; ``augment`` adds variants of the sound.

    ``mirrored`` adds every clip once more, flipped from left to right: another face, whose lips speak the same.
    Landmarks stay as they were, as only openings are measured on them.
    """
    encoder.eval()  # in training mode it would take each clip's own statistics for the training set's, and keep them
    variants = audio_variants([clip.sound for clip in clips], augment or AudioAugmentRecipe(variants=0))
    return [
        LatentClip(_states(encoder, clip, mirror), clip.mel, clip.landmarks, clip.record.speaker, own)
        for mirror in ((False, True) if mirrored else (False,))
        for clip, own in zip(clips, variants, strict=True)
    ]


def _states(encoder: MouthEncoder, clip: ClipData, mirror: bool) -> Tensor:
    states = []
    for first in range(0, len(clip.crops), 64):
        pixels = torch.from_numpy(np.array(clip.crops[first : first + 64])).to(device_of(encoder)).permute(0, 3, 1, 2)
        states.append(encoder((pixels.flip(-1) if mirror else pixels).float() / 255).cpu())
    return torch.cat(states).clone()


def audio_windows(mel: Float32, first: int, count: int) -> Tensor:
    """Windows ``[count 32 80]`` of latent frames first … first + count − 1 of a prepared clip."""
    start = MEL_MARGIN + ROWS_PER_FRAME * first - ROWS_BEFORE
    return torch.from_numpy(every_window(mel[start : start + rows_of(count)]))


def rows_of(frames: int) -> int:
    """Mel rows that the windows of so many consecutive latent frames cover."""
    return MEL_ROWS + ROWS_PER_FRAME * (frames - 1)


def every_window(rows: Float32) -> Float32:
    """The windows ``[n 32 80]`` that lie in rows ``[rows_of(n) 80]``, one a latent frame."""
    view = np.lib.stride_tricks.sliding_window_view(rows, MEL_ROWS, axis=0)[::ROWS_PER_FRAME]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


@dataclass(frozen=True, slots=True)
class ClipPool:
    """Clips of at least ``frames`` states, by speaker, and how often each speaker is drawn."""

    frames: int
    by_speaker: list[list[LatentClip]]
    weights: Float64


def clip_pools(clips: Sequence[LatentClip], lengths: Sequence[int]) -> list[ClipPool]:
    """A pool of clips for each length of window, in frames."""
    return [clip_pool(clips, frames) for frames in lengths]


def clip_pool(clips: Sequence[LatentClip], frames: int) -> ClipPool:
    """The clips that hold a window of ``frames``; speakers weigh with the square root of their minutes."""
    usable: dict[str, list[LatentClip]] = defaultdict(list)
    for clip in clips:
        if len(clip.z) >= frames:
            usable[clip.speaker].append(clip)
    groups = [usable[speaker] for speaker in sorted(usable)]
    seconds = np.array([sum(len(clip.z) for clip in group) for group in groups], float) ** 0.5
    return ClipPool(frames, groups, seconds / seconds.sum())


def flow_batches(pool: ClipPool, *, size: int, references: int, seed: int) -> Iterator[FlowBatch]:
    """Endless batches of windows; speakers are drawn before clips. A function of its arguments."""
    rng = np.random.default_rng(seed)
    while True:
        samples = []
        for index in rng.choice(len(pool.by_speaker), size, p=pool.weights):
            own = pool.by_speaker[index]
            samples.append(_sample(own[rng.integers(len(own))], own, pool.frames, references, rng))
        yield FlowBatch(*(torch.stack(column) for column in zip(*samples, strict=True)))


def batch_at(
    pools: Sequence[ClipPool], seed: int, step: int, *, size: int, references: int, runtime: Runtime = ALONE
) -> FlowBatch:
    """The runtime's share of a step's batch: the pools' window lengths take turns. A function of its arguments."""
    pool = pools[step % len(pools)]

    def make(seed: int, size: int) -> FlowBatch:
        return next(flow_batches(pool, size=size, references=references, seed=seed))

    return runtime.draw(make, seed=step_seed(seed, step), size=size)


def _sample(
    clip: LatentClip, own: list[LatentClip], frames: int, references: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    z, mel = _window(clip, frames, rng)
    # References of another clip of the speaker where there is one: they must not show what this window does.
    donor = own[rng.integers(len(own))]
    chosen = choose_references(donor.landmarks, references, rng)
    audio = audio_windows(augment_mel(mel, rng), 0, frames)
    return z, audio, donor.z[torch.from_numpy(chosen)]


def _window(clip: LatentClip, frames: int, rng: np.random.Generator) -> tuple[Tensor, Float32]:
    """States ``[frames d]`` and the rows of the same time, with margins, of the clip's own sound or a variant."""
    long_enough = [sound for sound in (AudioVariant(clip.mel), *clip.variants) if sound.frames >= frames]
    sound = long_enough[int(rng.integers(len(long_enough)))]
    start = int(rng.integers(0, sound.frames - frames + 1))
    rows = sound.mel[ROWS_PER_FRAME * start : ROWS_PER_FRAME * (start + frames) + 2 * MEL_MARGIN]
    return states_at(clip.z, sound.tempo, start, frames), rows.astype(np.float32)


def states_at(z: Tensor, tempo: float, start: int, frames: int) -> Tensor:
    """``z`` ``[n d]`` resampled in time to speech ``tempo`` times as fast: ``frames`` states from ``start`` on.

    Frame i is the clip's moment i · tempo, linear between two of its states.
    """
    if tempo == 1.0:
        return z[start : start + frames]
    at = (tempo * torch.arange(start, start + frames, dtype=torch.float64)).clamp(0, len(z) - 1)
    below = at.long().clamp(max=len(z) - 2)
    return torch.lerp(z[below], z[below + 1], (at - below)[:, None].to(z.dtype))
