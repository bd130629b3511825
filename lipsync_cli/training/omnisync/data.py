"""Latents and speech features of prepared clips, kept on disk, and batches of pairs of windows of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.types import MEL_RATE
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.guidance import by_latent
from lipsync_cli.engines.omnisync.nn.whisper import WhisperFeatures
from lipsync_cli.engines.omnisync.speech_features import ROWS_BEFORE, by_latent_frame, mel_features, whisper_features
from lipsync_cli.nn.wan.codec import Codec
from lipsync_cli.training.dataset.format import CLIP_MARGIN, LATENT_RATE, MEL_MARGIN
from lipsync_cli.training.dataset.loader import ClipData
from lipsync_cli.training.omnisync.pairing import ConditionDropout, PairClip, PairSampler, SigmaDensity

Half = npt.NDArray[np.float16]
PREPARED_TEMPLATE = "lower-face"
LATENTS_AT_ONCE = 8
ENCODED_BY = (
    "crop_size", "codec", "vae_width", "pixel_fold", "speech", "speech_width", "speech_layers", "speech_heads",
    "speech_feed_forward", "speech_mels", "speech_seconds", "speech_past", "speech_lookahead", "audio_reach",
    "window",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """Inputs of the network from one clip, a row for each latent frame, memory-mapped.

    ``latents`` float16 ``[n c h w]``, ``audio`` float16 ``[n m a]``; ``pair`` is what pairing needs of it.
    """

    latents: Half
    audio: Half
    pair: PairClip


class EditBatch(NamedTuple):
    """Windows ``[b n c h w]`` to be made and to be edited, the sound ``[b n m a]`` of the former, and σ ``[b]``.

    Bool ``[b]``: which samples have sound and text as conditions, which are pseudo-pairs (``aligned``), and which
    should be but none was found (``missed``).
    """

    target: Tensor
    source: Tensor
    audio: Tensor
    sigma: Tensor
    with_audio: Tensor
    with_text: Tensor
    aligned: Tensor
    missed: Tensor


class FrozenEncoders(NamedTuple):
    """What makes latents and audio features, never trained; ``device`` is where it is."""

    codec: Codec
    ears: WhisperFeatures | None
    device: torch.device
    dtype: torch.dtype


def encode_clips(
    clips: Sequence[ClipData],
    config: OmniSyncConfig,
    folder: Path,
    *,
    files: str,
    load: Callable[[], FrozenEncoders],
) -> None:
    """Encode what ``folder`` does not hold yet. ``files`` is a fingerprint of the encoders, which ``load`` gives.

    Raises UsageError for a configuration that prepared crops do not fit.
    """
    if config.template != PREPARED_TEMPLATE or config.rate != LATENT_RATE:
        raise UsageError(
            f"Prepared clips are {PREPARED_TEMPLATE} crops at {LATENT_RATE} frames per second; the recipe wants "
            f"{config.template} at {config.rate}.",
            hint="Leave template and rate at their defaults.",
        )
    missing = [clip for clip in clips if not all(path.is_file() for path in _paths(clip, config, folder, files))]
    if not missing:
        return
    encoders = load()
    folder.mkdir(parents=True, exist_ok=True)
    for clip in missing:
        latents, audio = _paths(clip, config, folder, files)
        _save(audio, clip_features(clip, config, encoders.ears))
        _save(latents, clip_latents(clip, config, encoders))


def read_clips(clips: Sequence[ClipData], config: OmniSyncConfig, folder: Path, *, files: str) -> list[EncodedClip]:
    """The clips that ``encode_clips`` wrote."""
    return [_read(clip, config, *_paths(clip, config, folder, files)) for clip in clips]


def latent_frames(clip: ClipData, config: OmniSyncConfig) -> int:
    """Latent frames of a clip; video frames that fill no further one are left out."""
    return 1 + (len(clip.crops) - 1) // config.frames_per_latent


@torch.no_grad()
def clip_latents(clip: ClipData, config: OmniSyncConfig, encoders: FrozenEncoders) -> Tensor:
    """Latents ``[n c h w]`` of a whole clip, encoded as one stream."""
    codec, size = encoders.codec, config.crop_size
    state, out = codec.begin(), []
    count = 1 + config.frames_per_latent * (latent_frames(clip, config) - 1)
    first, step = 0, 1 + config.frames_per_latent * LATENTS_AT_ONCE
    while first < count:
        crops = torch.from_numpy(np.array(clip.crops[first : min(first + step, count)])).to(encoders.device)
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
        out.append(codec.encode(pixels[None].to(encoders.dtype), state)[0].cpu())
        first, step = first + step, config.frames_per_latent * LATENTS_AT_ONCE
    return torch.cat(out)


def clip_features(clip: ClipData, config: OmniSyncConfig, ears: WhisperFeatures | None) -> Tensor:
    """Features ``[n m a]`` of a clip's latent frames, computed in stretches as long as a window, as a dub does."""
    n = latent_frames(clip, config)
    first, count = config.first_heard(0), config.heard_frames(n)
    if ears is None:
        per_frame = MEL_RATE // LATENT_RATE
        row = MEL_MARGIN + per_frame * first - ROWS_BEFORE
        return by_latent_frame(config, mel_features(clip.mel[row : row + per_frame * count]))
    block = config.heard_frames(config.window)
    stretches = [(at, min(block, first + count - at)) for at in range(first, first + count, block)]
    features = [whisper_features(config, ears, clip.sound, CLIP_MARGIN, at, frames) for at, frames in stretches]
    return by_latent_frame(config, torch.cat(features).cpu())


def pair_clip(clip: ClipData, config: OmniSyncConfig) -> PairClip:
    """What pairing needs of a clip: landmarks averaged over the frames of each latent."""
    count = 1 + config.frames_per_latent * (latent_frames(clip, config) - 1)
    marks = torch.from_numpy(np.array(clip.landmarks[:count], np.float32))
    return PairClip.of(clip.record.speaker, by_latent(marks, config.frames_per_latent, first=True).numpy())


def edit_batch(
    clips: Sequence[EncodedClip],
    pairs: PairSampler,
    density: SigmaDensity,
    dropout: ConditionDropout,
    frames: int,
    *,
    seed: int,
    size: int,
) -> EditBatch:
    """A batch of pairs of windows of ``frames`` latent frames, a function of its arguments; σ is drawn first."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(size):
        sigma = density.draw(rng)
        pair = pairs.draw(sigma, rng)
        with_audio, with_text = dropout.draw(rng)
        own, other = clips[pair.clip], clips[pair.source_clip]
        target, source = slice(pair.target, pair.target + frames), slice(pair.source, pair.source + frames)
        values = (own.latents[target], other.latents[source], own.audio[target])
        flags = (with_audio, with_text, pair.aligned, pair.missed)
        tensors = [torch.from_numpy(np.array(value, np.float32)) for value in values]
        rows.append([*tensors, torch.tensor(sigma, dtype=torch.float32), *map(torch.tensor, flags)])
    return EditBatch(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _paths(clip: ClipData, config: OmniSyncConfig, folder: Path, files: str) -> tuple[Path, Path]:
    """Where a clip's latents and features are; the names hash what they were made from and by."""
    made_by = json.dumps([files, *(getattr(config, name) for name in ENCODED_BY)])
    key = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    stem = f"{clip.record.name}-{clip.record.sha256[:8]}-{key}"
    return folder / f"{stem}.latents.npy", folder / f"{stem}.audio.npy"


def _save(path: Path, values: Tensor) -> None:
    partial = path.with_suffix(".part.npy")
    np.save(partial, values.to(torch.float16).numpy())
    partial.replace(path)


def _read(clip: ClipData, config: OmniSyncConfig, latents: Path, audio: Path) -> EncodedClip:
    try:
        return EncodedClip(np.load(latents, mmap_mode="r"), np.load(audio, mmap_mode="r"), pair_clip(clip, config))
    except (OSError, ValueError) as error:
        raise InputError(
            f"Encoded clips in {latents.parent} cannot be read: {error}.", hint="Delete that folder and start again."
        ) from error
