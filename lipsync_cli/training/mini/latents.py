"""Sequences for the flow: mouth states of every prepared clip, with the audio windows that belong to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.audio.mel import LOG_MEAN, LOG_SPREAD, band_edges
from lipsync_cli.core.types import Float32, Float64
from lipsync_cli.engines.mini.nn.flow_backbone import MEL_ROWS, ROWS_BEFORE
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.training.common.runtime import ALONE, Runtime, device_of
from lipsync_cli.training.dataset.audio_augment import Heard, HearingRecipe, hear
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import ClipData, choose_references

ROWS_PER_FRAME = 4
THROATS = (0.88, 1.14)
"""By how much resonances differ between voices: a long throat's against a middling one's, and a short one's."""


@dataclass(frozen=True, slots=True)
class LatentClip:
    """States ``[n d]``, mel rows with ``MEL_MARGIN`` of context each side, landmarks ``[n 68 2]`` in crop pixels.

    ``variants`` are other sounds of the same lips, drawn as often as the clip's own.
    """

    z: Tensor
    mel: Float32
    landmarks: Float32
    speaker: str
    variants: tuple[Heard, ...] = ()


class FlowBatch(NamedTuple):
    """States ``[b n d]``, audio windows ``[b n 32 80]``, reference states ``[b r d]``; encoder units."""

    z: Tensor
    audio: Tensor
    references: Tensor


@torch.no_grad()
def encode_clips(
    encoder: MouthEncoder, clips: list[ClipData], hearing: HearingRecipe | None = None, *, mirrored: bool = False
) -> list[LatentClip]:
    """Run the encoder, wherever it is, over every frame of every clip; ``hearing`` adds variants of the sound.

    ``mirrored`` adds every clip once more as a mirror shows it: another face, whose lips speak the same. Landmarks
    stay as they were, as only openings are read off them.
    """
    encoder.eval()  # in training mode it would take each clip's own statistics for the training set's, and keep them
    heard = hear([clip.sound for clip in clips], hearing or HearingRecipe(variants=0))
    return [
        LatentClip(_states(encoder, clip, mirror), clip.mel, clip.landmarks, clip.record.speaker, variants)
        for mirror in ((False, True) if mirrored else (False,))
        for clip, variants in zip(clips, heard, strict=True)
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


def long_enough(clips: list[LatentClip], frames: int) -> ClipPool:
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

    return runtime.draw(make, seed=seed * 1_000_003 + step, size=size)


def _sample(
    clip: LatentClip, own: list[LatentClip], frames: int, references: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    z, mel = _window(clip, frames, rng)
    # References of another clip of the speaker where there is one: they must not tell what this window does.
    donor = own[rng.integers(len(own))]
    chosen = choose_references(donor.landmarks, references, rng)
    audio = audio_windows(disturb_mel(mel, rng), 0, frames)
    return z, audio, donor.z[torch.from_numpy(chosen)]


def _window(clip: LatentClip, frames: int, rng: np.random.Generator) -> tuple[Tensor, Float32]:
    """States ``[frames d]`` and the rows of the same time, with margins, of the clip's own sound or a variant."""
    fitting = [heard for heard in (Heard(clip.mel), *clip.variants) if heard.frames >= frames]
    heard = fitting[int(rng.integers(len(fitting)))]
    start = int(rng.integers(0, heard.frames - frames + 1))
    rows = heard.mel[ROWS_PER_FRAME * start : ROWS_PER_FRAME * (start + frames) + 2 * MEL_MARGIN]
    return states_at(clip.z, heard.tempo, start, frames), rows.astype(np.float32)


def states_at(z: Tensor, tempo: float, start: int, frames: int) -> Tensor:
    """States ``[frames d]`` of somebody who makes the movements of ``z`` ``[n d]`` ``tempo`` times as fast.

    Frame i is the clip's moment i · tempo; between two frames lie the states between theirs.
    """
    if tempo == 1.0:
        return z[start : start + frames]
    at = (tempo * torch.arange(start, start + frames, dtype=torch.float64)).clamp(0, len(z) - 1)
    below = at.long().clamp(max=len(z) - 2)
    return torch.lerp(z[below], z[below + 1], (at - below)[:, None].to(z.dtype))


def disturb_mel(mel: Float32, rng: np.random.Generator) -> Float32:
    """Another throat, another loudness, a spectral tilt and, half of the time, a stationary noise floor."""
    bands = np.linspace(-1, 1, mel.shape[1])
    log = warp_throat(mel, rng.uniform(*THROATS)) * LOG_SPREAD + LOG_MEAN
    log = log + rng.normal(0, 1.0) + rng.normal(0, 0.5) * bands
    if rng.random() < 0.5:
        floor = rng.uniform(-11, -5) + rng.normal(0, 1.0) * bands + rng.normal(0, 0.7, mel.shape)
        log = np.logaddexp(log, floor)
    return np.asarray((log - LOG_MEAN) / LOG_SPREAD, np.float32)


def warp_throat(mel: Float32, factor: float) -> Float32:
    """Rows ``[n 80]`` whose resonances lie ``factor`` times as high: vocal tract length perturbation (Jaitly and
    Hinton 2013) on the mel bands themselves. 1 changes nothing."""
    frequencies = band_edges()[1:-1]
    position = np.interp(frequencies / factor, frequencies, np.arange(len(frequencies)))
    low = np.minimum(position.astype(int), len(frequencies) - 2)
    share = (position - low).astype(np.float32)
    return np.asarray(mel[:, low] * (1 - share) + mel[:, low + 1] * share, np.float32)
