from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.media.audio import duration_of, open_speech
from tests.helpers.synthetic import make_tone, run_ffmpeg

EXACT = ("s16.wav", "u8.wav", "s24.wav", "float.wav", "surround.flac", "native.wav", "opus.ogg", "stereo.mp3")


def speech(path, **options) -> np.ndarray:
    with open_speech(path, **options) as spans:
        parts = list(spans)
    assert [part.start for part in parts] == list(np.cumsum([0] + [p.samples.shape[1] for p in parts])[:-1])
    assert all(part.samples.dtype == np.float32 and part.sample_rate == SPEECH_RATE for part in parts)
    return np.concatenate([part.samples[0] for part in parts])


def phase_of(samples: np.ndarray) -> tuple[float, float]:
    """Amplitude and shift in seconds of the 440 Hz tone between 0.4 and 0.9 s."""
    time = np.arange(len(samples)) / SPEECH_RATE
    middle = (time > 0.4) & (time < 0.9)
    waves = np.stack([np.sin(2 * np.pi * 440 * time[middle]), np.cos(2 * np.pi * 440 * time[middle])], 1)
    sine, cosine = np.linalg.lstsq(waves, samples[middle], rcond=None)[0]
    return float(np.hypot(sine, cosine)), float(np.arctan2(cosine, sine) / (2 * np.pi * 440))


@pytest.mark.parametrize("name", EXACT)
def test_every_format_gives_the_same_tone_at_the_same_time(tones, name):
    samples = speech(tones / name)
    assert len(samples) == SPEECH_RATE
    amplitude, shift = phase_of(samples)
    assert amplitude == pytest.approx(0.25, abs=0.02)
    assert abs(shift) < 1e-5
    assert duration_of(tones / name) == pytest.approx(1, abs=1e-5)


def test_priming_is_dropped_and_a_late_start_is_silence(tones):
    _, shift = phase_of(speech(tones / "aac.m4a"))
    assert abs(shift) < 1e-5
    late = speech(tones / "late.mp4")
    onset = int(np.argmax(np.abs(late) > 0.01))
    assert abs(onset / SPEECH_RATE - 0.25) < 0.001


def test_a_part_is_a_slice_of_the_whole(tones):
    for name in ("s16.wav", "stereo.mp3"):
        whole = speech(tones / name)
        part = speech(tones / name, start=Fraction(1, 3), end=Fraction(2, 3))
        assert np.array_equal(part, whole[round(SPEECH_RATE / 3) : round(2 * SPEECH_RATE / 3)])


def test_opposite_channels_cancel_and_equal_ones_keep_their_level(tmp_path):
    make_tone(tmp_path / "equal.wav", channels=2)
    assert phase_of(speech(tmp_path / "equal.wav"))[0] == pytest.approx(0.25, abs=0.001)
    pan = "sine=f=440:r=48000:d=1,volume=2,pan=stereo|c0=c0|c1=-1*c0"
    run_ffmpeg("-f", "lavfi", "-i", pan, str(tmp_path / "opposite.wav"))
    assert np.abs(speech(tmp_path / "opposite.wav")).max() < 1e-3


def test_samples_stay_in_range_and_numbers(tmp_path):
    run_ffmpeg(
        "-f", "lavfi", "-i", "sine=f=440:r=44100:d=0.3,volume=40", "-c:a", "pcm_f32le", str(tmp_path / "loud.wav")
    )
    samples = speech(tmp_path / "loud.wav")
    assert np.abs(samples).max() == 1.0
    data = bytearray((tmp_path / "loud.wav").read_bytes())
    data[5000:5004] = b"\xff\xff\xff\x7f"  # not a number
    (tmp_path / "loud.wav").write_bytes(data)
    assert np.isfinite(speech(tmp_path / "loud.wav")).all()


def test_empty_and_absent_audio_are_said(tones, clips, tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000", "-t", "0", str(tmp_path / "empty.wav"))
    with pytest.raises(InputError, match="is empty"):
        speech(tmp_path / "empty.wav")
    with pytest.raises(InputError, match="no audio stream"):
        speech(clips / "vfr.mp4")
    with pytest.raises(InputError, match=r"ends after 1\.00 s"):
        speech(tones / "s16.wav", start=Fraction(5))
    with pytest.raises(UsageError):
        speech(tones / "s16.wav", start=Fraction(2), end=Fraction(1))
    with pytest.raises(InputError, match="1 audio streams"):
        speech(tones / "s16.wav", stream=3)
