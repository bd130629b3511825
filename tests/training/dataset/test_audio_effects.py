"""Each audio effect does what it is meant to and keeps speech in its place."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.training.dataset import audio_effects as effects
from tests.helpers.sounds import RATE, tone


def pitch_of(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


def power(samples: np.ndarray, low: float, high: float) -> float:
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float((np.abs(np.fft.rfft(samples))[(hertz >= low) & (hertz < high)] ** 2).mean())


def envelope(samples: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(samples[: len(samples) // 320 * 320]).reshape(-1, 320).mean(1))


def test_mix_has_the_ratio_asked_for(speech: np.ndarray) -> None:
    noise = effects.coloured_noise(len(speech), 0.0, np.random.default_rng(0))
    for snr in (0.0, 12.0):
        added = effects.mix(speech, noise, snr) - speech
        assert 20 * np.log10(effects.level(speech) / effects.level(added)) == pytest.approx(snr, abs=0.05)


@pytest.mark.parametrize(("slope", "fall_db"), [(0.0, 0.0), (1.0, 3.0), (2.0, 6.0)])
def test_coloured_noise_falls_by_its_slope_an_octave(slope: float, fall_db: float) -> None:
    noise = effects.coloured_noise(8 * RATE, slope, np.random.default_rng(0))
    octaves = [power(noise, 250 * 2**k, 500 * 2**k) for k in range(4)]
    falls = -np.diff(10 * np.log10(octaves))
    assert np.allclose(falls, fall_db, atol=0.6)


def test_babble_is_made_of_all_voices_equally() -> None:
    voices = [tone(300), tone(700, 0.4), 20 * tone(1500)]
    mixture = effects.babble(2 * RATE, voices, np.random.default_rng(0))
    assert len(mixture) == 2 * RATE and effects.level(mixture) == pytest.approx(1, abs=1e-3)
    shares = [power(mixture, hertz - 20, hertz + 20) for hertz in (300, 700, 1500)]
    assert max(shares) < 3 * min(shares), "the loud one is no louder than the others"
    assert power(mixture, 1000, 1200) < 1e-2 * min(shares)


def test_tones_are_tonal_and_of_unit_level() -> None:
    music = effects.tones(4 * RATE, np.random.default_rng(3))
    noise = effects.coloured_noise(4 * RATE, 1.0, np.random.default_rng(3))

    def peakiness(samples: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.sort(spectrum)[-200:].sum() / spectrum.sum())

    assert peakiness(music) > 0.8 > 2 * peakiness(noise)
    assert effects.level(music) == pytest.approx(1, abs=1e-3)


def test_room_response_decays_in_its_time_and_delays_nothing(speech: np.ndarray) -> None:
    response = effects.room_response(0.4, 6.0, np.random.default_rng(0))
    assert response[0] == 1 and np.abs(response).argmax() == 0
    tail = response[1:].astype(float)
    assert 10 * np.log10(1 / (tail**2).sum()) == pytest.approx(6.0, abs=0.1)
    # Schroeder's backward integral falls by 20 dB in a third of the reverberation time, give or take the band mix.
    left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] + 1e-15)
    fallen = int(np.argmax(left < left[40] - 20)) / RATE
    assert 0.05 < fallen < 0.2
    click = np.zeros(RATE, np.float32)
    click[5000] = 1
    assert np.abs(effects.reverberate(click, response)).argmax() == 5000
    wet = effects.reverberate(speech, response)
    assert len(wet) == len(speech) and effects.level(wet) == pytest.approx(effects.level(speech), rel=1e-3)
    dry = speech[30 * 320 :]
    assert np.corrcoef(envelope(dry), envelope(wet[30 * 320 :]))[0, 1] > 0.8


def test_equalise_lifts_the_band_asked_for() -> None:
    noise = effects.coloured_noise(2 * RATE, 0.0, np.random.default_rng(0))
    lifted = effects.equalise(noise, [0, 0, 0, 0, 0, 0, 12])
    low, high = (10 * np.log10(power(lifted, *band) / power(noise, *band)) for band in ((60, 1500), (7500, 8000)))
    assert abs(low) < 0.1 and high == pytest.approx(12, abs=1)
    assert np.allclose(effects.equalise(noise, np.zeros(7)), noise, atol=1e-5)


def test_telephone_codec_keeps_its_band_and_rounds() -> None:
    noise = 0.1 * effects.coloured_noise(2 * RATE, 0.0, np.random.default_rng(0))
    heard = effects.telephone_codec(noise, 300, 3400)
    assert power(heard, 600, 3000) == pytest.approx(power(noise, 600, 3000), rel=0.1)
    # Beyond the band is only what rounding adds.
    assert power(heard, 5000, 8000) < 0.01 * power(noise, 5000, 8000)
    assert len(np.unique(heard)) <= 255 < len(np.unique(noise))


@pytest.mark.parametrize("tempo", [0.85, 1.15])
def test_time_stretch_moves_speech_in_time_and_not_in_pitch(speech: np.ndarray, tempo: float) -> None:
    fast = effects.time_stretch(tone(440, 2.0), tempo)
    assert len(fast) == round(2 * RATE / tempo) and pitch_of(fast) == pytest.approx(440, abs=1)
    assert effects.level(fast) == pytest.approx(effects.level(tone(440, 2.0)), rel=0.02)
    moved, own = envelope(effects.time_stretch(speech, tempo)), envelope(speech)
    expected = np.interp(np.arange(len(moved)) * tempo, np.arange(len(own)), own)
    assert np.corrcoef(moved, expected)[0, 1] > 0.95
    assert np.corrcoef(moved, own[: len(moved)] if tempo > 1 else np.resize(own, len(moved)))[0, 1] < 0.8


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_pitch_shift_moves_pitch_and_not_speech(speech: np.ndarray, factor: float) -> None:
    assert pitch_of(effects.pitch_shift(tone(440), factor)) == pytest.approx(440 * factor, abs=2)
    other = effects.pitch_shift(speech, factor)
    assert len(other) == len(speech)
    assert np.corrcoef(envelope(other), envelope(speech))[0, 1] > 0.95
