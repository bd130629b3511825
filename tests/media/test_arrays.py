"""Sound in memory is cut and resampled as that of a file."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from lipsync_cli.media.arrays import speech_of
from lipsync_cli.media.audio import open_speech


@pytest.mark.parametrize(("rate", "shape"), [(16_000, 1), (44_100, 1), (48_000, 2)])
def test_sound_in_memory_is_that_of_a_file(rate, shape, tmp_path) -> None:
    t = np.arange(rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 300 * t) * 32767).astype(np.int16)
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(shape)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, shape).tobytes())
    samples = tone.astype(np.float32) / 32768
    whole = samples if shape == 1 else np.stack([samples, samples])
    with open_speech(tmp_path / "tone.wav") as spans:
        expected = np.concatenate([span.samples for span in spans], axis=1)
    blocks = (whole[..., begin : begin + 1000] for begin in range(0, rate, 1000))
    for audio in (whole, blocks):
        found = list(speech_of(audio, rate))
        assert [span.start for span in found] == [0, *np.cumsum([span.samples.shape[1] for span in found])[:-1]]
        np.testing.assert_allclose(np.concatenate([span.samples for span in found], axis=1), expected, atol=2e-6)
