"""Each change of the sound does what it says, keeps speech in its place, and depends on its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.media.audio import open_speech
from lipsync_cli.training.dataset import audio_effects as sound
from lipsync_cli.training.dataset.audio_augment import Heard, HearingRecipe, at_tempo, change, hear
from lipsync_cli.training.dataset.format import MEL_MARGIN, SAMPLES_PER_FRAME, mel_rows
from lipsync_cli.training.mini.latents import LatentClip, batch_at, long_enough, states_at
from tests.helpers.paths import SAMPLES

RATE, MARGIN = 16_000, MEL_MARGIN * 160 + 200
OFF = dict.fromkeys(("pitch", "tempo", "room", "equaliser", "noise", "codec"), 0.0)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def pitch_of(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


def power(samples: np.ndarray, low: float, high: float) -> float:
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float((np.abs(np.fft.rfft(samples))[(hertz >= low) & (hertz < high)] ** 2).mean())


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with open_speech(SAMPLES / "speech.wav") as spans:
        return np.concatenate([span.samples[0] for span in spans])[: 2 * RATE + 2 * MARGIN]


def envelope(samples: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(samples[: len(samples) // 320 * 320]).reshape(-1, 320).mean(1))


def test_noise_is_mixed_at_the_ratio_asked_for(speech: np.ndarray) -> None:
    noise = sound.coloured_noise(len(speech), 0.0, np.random.default_rng(0))
    for snr in (0.0, 12.0):
        added = sound.mixed(speech, noise, snr) - speech
        assert 20 * np.log10(sound.level(speech) / sound.level(added)) == pytest.approx(snr, abs=0.05)


@pytest.mark.parametrize(("slope", "fall_db"), [(0.0, 0.0), (1.0, 3.0), (2.0, 6.0)])
def test_noise_falls_by_its_slope_an_octave(slope: float, fall_db: float) -> None:
    noise = sound.coloured_noise(8 * RATE, slope, np.random.default_rng(0))
    octaves = [power(noise, 250 * 2**k, 500 * 2**k) for k in range(4)]
    falls = -np.diff(10 * np.log10(octaves))
    assert np.allclose(falls, fall_db, atol=0.6)


def test_babble_is_made_of_the_voices_and_of_none_alone() -> None:
    voices = [tone(300), tone(700, 0.4), 20 * tone(1500)]
    mixture = sound.babble(2 * RATE, voices, np.random.default_rng(0))
    assert len(mixture) == 2 * RATE and sound.level(mixture) == pytest.approx(1, abs=1e-3)
    shares = [power(mixture, hertz - 20, hertz + 20) for hertz in (300, 700, 1500)]
    assert max(shares) < 3 * min(shares), "the loud one is no louder than the others"
    assert power(mixture, 1000, 1200) < 1e-2 * min(shares)


def test_tones_are_tonal_and_keep_a_beat() -> None:
    music = sound.tones(4 * RATE, np.random.default_rng(3))
    noise = sound.coloured_noise(4 * RATE, 1.0, np.random.default_rng(3))

    def peakiness(samples: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.sort(spectrum)[-200:].sum() / spectrum.sum())

    assert peakiness(music) > 0.8 > 2 * peakiness(noise)
    assert sound.level(music) == pytest.approx(1, abs=1e-3)


def test_a_room_decays_as_told_and_delays_nothing(speech: np.ndarray) -> None:
    response = sound.room(0.4, 6.0, np.random.default_rng(0))
    assert response[0] == 1 and np.abs(response).argmax() == 0
    tail = response[1:].astype(float)
    assert 10 * np.log10(1 / (tail**2).sum()) == pytest.approx(6.0, abs=0.1)
    # Schroeder's backward integral falls by 20 dB in a third of the reverberation time, give or take the band mix.
    left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] + 1e-15)
    fallen = int(np.argmax(left < left[40] - 20)) / RATE
    assert 0.05 < fallen < 0.2
    click = np.zeros(RATE, np.float32)
    click[5000] = 1
    assert np.abs(sound.reverberated(click, response)).argmax() == 5000
    wet = sound.reverberated(speech, response)
    assert len(wet) == len(speech) and sound.level(wet) == pytest.approx(sound.level(speech), rel=1e-3)
    dry = speech[30 * 320 :]
    assert np.corrcoef(envelope(dry), envelope(wet[30 * 320 :]))[0, 1] > 0.8


def test_an_equaliser_lifts_what_it_is_told_to() -> None:
    noise = sound.coloured_noise(2 * RATE, 0.0, np.random.default_rng(0))
    lifted = sound.equalised(noise, [0, 0, 0, 0, 0, 0, 12])
    low, high = (10 * np.log10(power(lifted, *band) / power(noise, *band)) for band in ((60, 1500), (7500, 8000)))
    assert abs(low) < 0.1 and high == pytest.approx(12, abs=1)
    assert np.allclose(sound.equalised(noise, np.zeros(7)), noise, atol=1e-5)


def test_a_telephone_keeps_its_band_and_rounds() -> None:
    noise = 0.1 * sound.coloured_noise(2 * RATE, 0.0, np.random.default_rng(0))
    heard = sound.telephoned(noise, 300, 3400)
    assert power(heard, 600, 3000) == pytest.approx(power(noise, 600, 3000), rel=0.1)
    # Beyond the band is only what rounding adds.
    assert power(heard, 5000, 8000) < 0.01 * power(noise, 5000, 8000)
    assert len(np.unique(heard)) <= 255 < len(np.unique(noise))


@pytest.mark.parametrize("tempo", [0.85, 1.15])
def test_stretching_moves_speech_in_time_and_not_in_pitch(speech: np.ndarray, tempo: float) -> None:
    fast = sound.stretched(tone(440, 2.0), tempo)
    assert len(fast) == round(2 * RATE / tempo) and pitch_of(fast) == pytest.approx(440, abs=1)
    assert sound.level(fast) == pytest.approx(sound.level(tone(440, 2.0)), rel=0.02)
    moved, own = envelope(sound.stretched(speech, tempo)), envelope(speech)
    expected = np.interp(np.arange(len(moved)) * tempo, np.arange(len(own)), own)
    assert np.corrcoef(moved, expected)[0, 1] > 0.95
    assert np.corrcoef(moved, own[: len(moved)] if tempo > 1 else np.resize(own, len(moved)))[0, 1] < 0.8


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_repitching_moves_pitch_and_not_speech(speech: np.ndarray, factor: float) -> None:
    assert pitch_of(sound.repitched(tone(440), factor)) == pytest.approx(440 * factor, abs=2)
    other = sound.repitched(speech, factor)
    assert len(other) == len(speech)
    assert np.corrcoef(envelope(other), envelope(speech))[0, 1] > 0.95


@pytest.mark.parametrize("tempo", [0.9, 1.17])
def test_a_faster_clip_says_at_frame_i_what_it_said_at_i_times_tempo(tempo: float) -> None:
    frames, at = 50, 30
    samples = np.zeros(2 * MARGIN + frames * SAMPLES_PER_FRAME, np.float32)
    place = MARGIN + at * SAMPLES_PER_FRAME
    samples[place - 200 : place + 200] = tone(1000, 400 / RATE)
    fast = at_tempo(samples, tempo)
    count = (len(fast) - 2 * MARGIN) // SAMPLES_PER_FRAME
    assert (len(fast) - 2 * MARGIN) % SAMPLES_PER_FRAME == 0 and count == int(frames / tempo)
    row = int(mel_rows(fast, count).mean(1).argmax())
    assert (row - MEL_MARGIN) / 4 == pytest.approx(at / tempo, abs=0.5)
    z = torch.arange(frames, dtype=torch.float32)[:, None]
    told = states_at(z, tempo, 3, 20)[:, 0]
    torch.testing.assert_close(told, tempo * torch.arange(3.0, 23.0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("only", list(OFF))
def test_every_switch_changes_the_sound_and_none_leaves_it(only: str, speech: np.ndarray) -> None:
    alone = HearingRecipe(**(OFF | {only: 1.0}))
    changed, tempo = change(speech, alone, np.random.default_rng(1), others=[speech])
    assert (tempo != 1) == (only == "tempo")
    assert len(changed) != len(speech) or sound.level(changed - speech) > 0.01 * sound.level(speech)
    untouched, _ = change(speech, HearingRecipe(**OFF), np.random.default_rng(1), others=[speech])
    assert np.array_equal(untouched, speech)


def test_variants_are_a_function_of_the_seed(speech: np.ndarray) -> None:
    recipe = HearingRecipe(variants=2, seed=3)
    one, two = hear([speech], recipe)[0], hear([speech], recipe)[0]
    assert [v.tempo for v in one] == [v.tempo for v in two]
    assert all(np.array_equal(a.mel, b.mel) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].mel, one[1].mel)
    other = hear([speech], HearingRecipe(variants=2, seed=4))[0]
    assert not np.array_equal(one[0].mel[:100], other[0].mel[:100])


def test_batches_draw_variants_with_the_states_that_belong_to_them() -> None:
    """Mel rows and states that both say which moment of the clip they are of."""
    frames, tempo = 60, 1.2
    z = torch.arange(frames, dtype=torch.float32)[:, None].repeat(1, 2)
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, 1, (frames, 68, 2)).astype(np.float32)

    def rows(count: int, speed: float) -> np.ndarray:
        moments = speed * (np.arange(2 * MEL_MARGIN + 4 * count) - MEL_MARGIN) / 4
        return np.repeat(moments[:, None], 80, 1).astype(np.float32)

    clip = LatentClip(z, rows(frames, 1.0), landmarks, "a", (Heard(rows(50, tempo), tempo),))
    batch = batch_at([long_enough([clip], 20)], 0, 0, size=12, references=1)
    speeds = (batch.z[:, 1, 0] - batch.z[:, 0, 0]).numpy()
    assert {round(float(s), 2) for s in speeds} == {1.0, 1.2}, "both are drawn"
    # disturb_mel changes level and tilt, not the slope over time at a band's middle, where noise is away.
    for k, speed in enumerate(speeds):
        heard = batch.audio[k, :, 16, 40].numpy()
        assert np.polyfit(np.arange(20), heard, 1)[0] == pytest.approx(speed, abs=0.05)
