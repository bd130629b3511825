"""What LatentSync hears: the inner activations of Whisper's encoder, and the log-mel spectrogram it reads.

The encoder is transformers'. Its own list of hidden states cannot be used: the last of them is normalised once more,
which the network was not trained with.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipsync_cli.core.types import SPEECH_RATE, Float32
from lipsync_cli.nn.whisper import COLUMNS_PER_POSITION

HOP, N_FFT, N_MELS = 160, 400, 80
MEL_FLOOR = 1e-10
RANGE = 8.0
"""Decades below the loudest value that are told apart."""
BEFORE, AFTER = 4, 6
"""Positions from 4 before a frame's own to 5 after it are what it hears."""


class WhisperActivations(nn.Module):
    """transformers' Whisper encoder with its input and the output of every layer as features."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.positions: int = encoder.config.max_source_positions
        self.width: int = encoder.config.d_model

    @property
    def layers(self) -> int:
        """Activations a position has: the input of the first layer and the output of each."""
        return len(self.encoder.layers) + 1

    def forward(self, mel: Tensor) -> Tensor:
        """Activations ``[n layers d]`` of ``mel`` ``[80 2n]`` as ``normalised``; n is at most ``positions``.

        What is missing to a full window is filled with zeros, as in training, not with silence.
        """
        columns = mel.shape[1]
        padded = F.pad(mel, (0, COLUMNS_PER_POSITION * self.positions - columns))
        kept: list[Tensor] = []
        hooks = [self.encoder.layers[0].register_forward_pre_hook(lambda module, args: kept.append(args[0]))]
        hooks += [
            layer.register_forward_hook(lambda module, args, out: kept.append(out)) for layer in self.encoder.layers
        ]
        try:
            self.encoder(padded[None])
        finally:
            for hook in hooks:
                hook.remove()
        states = [state[0] if isinstance(state, tuple) else state for state in kept]
        return torch.cat(states)[:, : columns // COLUMNS_PER_POSITION].transpose(0, 1)


def log_mel(samples: Tensor) -> Tensor:
    """Decades of power ``[80 n/160]`` of 16 kHz samples ``[n]``, at least −10; column i lies around sample 160·i."""
    window = torch.hann_window(N_FFT, device=samples.device)
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, center=True, return_complex=True)
    power = spectrum[:, : len(samples) // HOP].abs().square()
    return (torch.from_numpy(_bank()).to(power) @ power).clamp(min=MEL_FLOOR).log10()


def normalised(mel: Tensor, loudest: float) -> Tensor:
    """``log_mel`` as Whisper wants it, given the ``loudest`` value of the recording."""
    return (mel.clamp(min=loudest - RANGE) + 4) / 4


def frame_tokens(activations: Tensor, frames: Tensor) -> Tensor:
    """What each of ``frames`` ``[f]`` (numbers at 25 a second) hears of activations ``[n l d]``: ``[f 10·l d]``.

    Positions beyond either end repeat the outermost; tokens are in the order of time, and within it of layers.
    """
    offsets = torch.arange(-BEFORE, AFTER, device=frames.device)
    wanted = (2 * frames[:, None] + offsets).clamp(0, len(activations) - 1)
    return activations[wanted.to(activations.device)].flatten(1, 2)


@cache
def _bank() -> Float32:
    """``[80 201]``, from the function that Whisper's was made with."""
    from librosa.filters import mel

    return np.ascontiguousarray(mel(sr=SPEECH_RATE, n_fft=N_FFT, n_mels=N_MELS), np.float32)
