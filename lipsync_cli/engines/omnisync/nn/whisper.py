"""Speech features of Whisper's encoder (Radford et al. 2022): two for every video frame at 25 per second."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.nn.whisper import SAMPLES_PER_POSITION, WhisperSizes


class WhisperFeatures(nn.Module):
    """transformers' encoder behind transformers' log-mel features."""

    def __init__(self, encoder: nn.Module, sizes: WhisperSizes) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor

        self.encoder, self.sizes = encoder, sizes
        self._mel = WhisperFeatureExtractor(feature_size=sizes.mels, chunk_length=sizes.seconds)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        """Features ``[n d]`` of 16 kHz samples ``[320·n]``, feature i about sample 320·i; silence fills the rest."""
        step, most = SAMPLES_PER_POSITION, self.sizes.seconds
        if samples.ndim != 1 or len(samples) % step or len(samples) > most * SPEECH_RATE:
            raise ValueError(
                f"Whisper hears whole steps of {step} samples, at most {most} s of them, got {tuple(samples.shape)}"
            )
        heard = self._mel(samples.cpu().numpy(), sampling_rate=SPEECH_RATE, return_tensors="pt").input_features
        first = next(self.encoder.parameters())
        out: Tensor = self.encoder(heard.to(first)).last_hidden_state[0]
        return out[: len(samples) // SAMPLES_PER_POSITION].float()
