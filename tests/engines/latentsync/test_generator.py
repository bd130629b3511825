"""LatentSync as a generator, with random weights: streaming, rates, causality, memory, the release's ways."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.dubbing.chunk_grid import chunk_end
from lipsync_cli.engines.latentsync.generator import LatentSync
from lipsync_cli.engines.mouth_mask import kept_pixels
from lipsync_cli.engines.protocol import NO_MEL, CropChunk, LipSyncModel, WaveSpan
from tests.helpers.narrow_latentsync import CONFIG, make_networks

SIZE, CHUNK = CONFIG.crop_size, CONFIG.chunk
WAVE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 3).astype(np.float32)


@pytest.fixture(scope="module")
def generator() -> LatentSync:
    return LatentSync(make_networks(), CONFIG)


def make_crops(count: int, seed: int = 1) -> list[Crop]:
    rng = np.random.default_rng(seed)
    alignment = Alignment(np.eye(2, 3), SIZE)
    return [
        Crop(blocks.repeat(SIZE // 8, 0).repeat(SIZE // 8, 1), alignment, rng.uniform(0, SIZE, (68, 2)))
        for blocks in rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    ]


def at_rate(count: int, rate: Fraction = Fraction(25), start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + i / rate for i in range(count)]


def run(generator: LatentSync, crops, times, *, wave=WAVE, seed=0, extra_s=Fraction(0), silence=0.0):
    """All pictures of a segment in the windows of the model's clock; ``extra_s`` hands over more sound than asked."""
    spec = generator.spec
    state = generator.begin([], times[0], seed=seed)
    ends = [chunk_end(spec, (time - times[0]) * spec.rate) for time in times]
    out, previous = [], times[0]
    for end in sorted(set(ends)):
        own = [i for i, e in enumerate(ends) if e == end]
        low = max(0, int((previous - spec.audio_before_s - extra_s) * 16_000 // 1))
        high = -int(-(times[0] + end / spec.rate + spec.audio_after_s + extra_s) * 16_000 // 1)
        span = WaveSpan(wave, 0) if spec.whole_audio else WaveSpan(wave[low:high], low)
        part = [crops[i] for i in own], [times[i] for i in own]
        chunk = CropChunk(tuple(part[0]), tuple(part[1]), NO_MEL, np.full(len(own), silence, np.float32), span)
        out += [drawing and drawing.rgb for drawing in generator.step(state, chunk)]
        previous = part[1][-1]
    return out


def test_it_is_a_generator_that_can_be_measured(generator):
    assert isinstance(generator, LipSyncModel) and generator.flops_per_frame() > 0
    spec = generator.spec
    assert (spec.first_chunk_frames, spec.chunk_frames, spec.rate, spec.reference_frames) == (CHUNK, CHUNK, 25, 0)
    assert (spec.template, spec.audio, spec.whole_audio) == ("latentsync", "waveform", False)
    assert spec.audio_after_s == Fraction(CONFIG.speech_lookahead + 1, 25)


def test_as_many_pictures_as_crops_and_whole_windows_do_not_know_what_follows(generator):
    """Neither later windows nor more sound change a window."""
    crops, times = make_crops(9), at_rate(9)
    whole = run(generator, crops, times)
    assert len(whole) == 9
    assert all(p.shape == (SIZE, SIZE, 3) and p.min() >= 0 and p.max() <= 1 for p in whole)
    short = run(generator, crops[:8], times[:8], extra_s=Fraction(1))
    np.testing.assert_array_equal(np.stack(short), np.stack(whole[:8]))
    assert len({p.tobytes() for p in whole}) == 9


def test_every_input_shows_in_the_pictures(generator):
    crops, times = make_crops(CHUNK), at_rate(CHUNK)
    base = np.stack(run(generator, crops, times))
    assert np.array_equal(base, np.stack(run(generator, crops, times)))
    others = {
        "seed": run(generator, crops, times, seed=1),
        "crops": run(generator, make_crops(CHUNK, seed=5), times),
        "sound": run(generator, crops, times, wave=np.roll(WAVE, 5000)),
    }
    for name, other in others.items():
        assert np.abs(np.stack(other) - base).max() > 1e-4, name
    np.testing.assert_array_equal(np.stack(run(generator, crops, times, silence=1.0)), base)


def test_no_sound_beyond_the_declared_look_ahead_is_heard_and_no_later_crop_seen(generator):
    crops, times = make_crops(8), at_rate(8)
    later = WAVE.copy()
    later[int((Fraction(CHUNK - 1, 25) + generator.spec.audio_after_s) * 16_000) :] += 1
    before, after = (np.stack(run(generator, crops, times, wave=wave)) for wave in (WAVE, later))
    assert np.array_equal(before[:CHUNK], after[:CHUNK])
    assert np.abs(before[CHUNK:] - after[CHUNK:]).max() > 1e-4
    changed = np.stack(run(generator, crops[:CHUNK] + make_crops(CHUNK, seed=9), times))
    assert np.array_equal(before[:CHUNK], changed[:CHUNK])
    assert np.abs(before[CHUNK:] - changed[CHUNK:]).max() > 1e-4


def test_frames_of_a_window_see_each_other(generator):
    """Through joint norms and temporal attention."""
    crops, times = make_crops(CHUNK), at_rate(CHUNK)
    base = np.stack(run(generator, crops, times))
    changed = np.stack(run(generator, [*crops[:-1], *make_crops(1, seed=8)], times))
    assert np.abs(base[0] - changed[0]).max() > 1e-5


def test_after_the_last_crop_a_window_goes_on_with_it(generator):
    """So that it always has the frames of the training; what was shown longer gives the same pictures."""
    crops = make_crops(3)
    held = run(generator, [*crops, crops[-1]], at_rate(4))
    np.testing.assert_array_equal(np.stack(run(generator, crops, at_rate(3))), np.stack(held[:3]))


@pytest.mark.parametrize("rate", [Fraction(50), Fraction(30000, 1001), Fraction(12)])
def test_at_any_rate_every_crop_gets_the_picture_nearest_in_time(generator, rate):
    """The crops are all alike, so the pictures of the clock do not depend on the video's rate."""
    crop, seconds = make_crops(1)[0], Fraction(7, 25)
    clock = run(generator, [crop] * 8, at_rate(8))
    times = at_rate(int(seconds * rate), rate)
    for time, picture in zip(times, run(generator, [crop] * len(times), times), strict=True):
        np.testing.assert_allclose(picture, clock[int(time * 25 + Fraction(1, 2))], atol=1e-6)


@settings(max_examples=2, deadline=None)
@given(st.lists(st.integers(5, 150), min_size=5, max_size=8), st.integers(0, 2000))
def test_uneven_frames_and_any_start_are_dubbed(generator, gaps_ms, start_ms):
    times = [Fraction(start_ms + sum(gaps_ms[:i]), 1000) for i in range(len(gaps_ms))]
    pictures = run(generator, make_crops(len(times)), times)
    assert len(pictures) == len(times)
    assert all(picture is not None and np.isfinite(picture).all() for picture in pictures)


def test_a_segment_needs_the_same_memory_however_long_it_is(generator):
    crop = make_crops(1)[0]
    state = generator.begin([], Fraction(0), seed=0)
    for index in range(4):
        times = at_rate(CHUNK, start=Fraction(CHUNK * index, 25))
        low = max(0, int((times[0] - generator.spec.audio_before_s) * 16_000) - 640)
        span = WaveSpan(np.zeros(32_000, np.float32), low)
        generator.step(state, CropChunk((crop,) * CHUNK, tuple(times), NO_MEL, np.zeros(CHUNK, np.float32), span))
        assert len(state.pictures) <= 1 and state.speech.activations is None
    assert state.made == 4 * CHUNK


def test_missing_sound_is_an_error_not_a_guess(generator):
    crops, times = make_crops(CHUNK), at_rate(CHUNK, start=Fraction(1))
    state = generator.begin([], times[0], seed=0)
    span = WaveSpan(WAVE[16_000:20_000], 16_000)
    late = CropChunk(tuple(crops), tuple(times), NO_MEL, np.zeros(CHUNK, np.float32), span)
    with pytest.raises(ValueError, match="sound from sample"):
        generator.step(state, late)


@pytest.mark.parametrize("motion", [True, False])
def test_what_the_unet_is_given(motion):
    """Channel order, mask, grey holes, one noise for all frames, zeros for what is not heard: checked at its door."""
    config = CONFIG.model_copy(update={"motion": motion, "steps": 1})
    networks, seen = make_networks(config), []

    class Spy:
        dtype, device = torch.float32, torch.device("cpu")

        def predict(self, x, t, audio):
            seen.append((x, t, audio))
            return torch.zeros_like(x[:, :, :4]), x

    spied = LatentSync(type(networks)(Spy(), networks.vae, networks.speech), config)
    crops = make_crops(CHUNK)
    run(spied, crops, at_rate(CHUNK))
    x, t, audio = seen[0]
    assert (x.shape, t, audio.shape) == ((2, CHUNK, 13, 8, 8), 1, (2, CHUNK, config.tokens, config.speech_width))
    assert not audio[0].any() and audio[1].any()
    assert torch.equal(x[0], x[1])
    assert torch.equal(x[0, 0, :4], x[0, 3, :4]) and 0.5 < x[0, 0, :4].std() < 2
    mask = x[0, 0, 4]
    assert set(mask.unique().tolist()) == {0, 1} and mask[:3].all() and not mask[5, 2:6].any()
    hidden = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    keep = kept_pixels(SIZE)[..., None]
    hidden = hidden + keep * (crops[1].rgb / np.float32(255) - hidden)
    for channels, picture in ((slice(5, 9), hidden), (slice(9, 13), crops[1].rgb / np.float32(255))):
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1
        latent = 0.18215 * networks.vae.vae.encode(pixels).latent_dist.mean[0]
        torch.testing.assert_close(x[0, 1, channels], latent, atol=1e-3, rtol=1e-3)


def test_as_the_release_does_it_windows_end_short_and_only_the_mouth_is_pasted():
    networks = make_networks()
    generator = LatentSync(networks, CONFIG, release=True)
    assert generator.spec.whole_audio
    lengths, plain = [], generator._sampler.sample
    object.__setattr__(generator, "_sampler", _Counting(lengths, plain))
    crops, times, wave = make_crops(11), at_rate(11), WAVE[: 16_000 * 6 // 25]
    pictures = run(generator, crops, times, wave=wave)
    assert lengths == [4, 4, 3]
    # 0.24 s of sound are 12 positions, of which the release makes 12 / 2 + 2 frames.
    assert [i for i, picture in enumerate(pictures) if picture is not None] == list(range(8))
    picture, source = pictures[2], crops[2].rgb / np.float32(255)
    np.testing.assert_allclose(picture[:20], source[:20], atol=1e-6)
    assert np.abs(picture[40:50, 20:40] - source[40:50, 20:40]).max() > 0.05
    again = run(LatentSync(networks, CONFIG, release=True), crops[:CHUNK], times[:CHUNK], wave=wave, seed=5)
    np.testing.assert_array_equal(again[2], picture)  # the release has one seed


class _Counting:
    def __init__(self, lengths, sample):
        self.lengths, self._sample = lengths, sample

    def sample(self, unet, noise, condition, audio):
        self.lengths.append(noise.shape[1])
        return self._sample(unet, noise, condition, audio)


def test_drawings_may_be_left_on_the_device():
    crops, times = make_crops(CHUNK), at_rate(CHUNK)
    generator = LatentSync(make_networks(), CONFIG)
    expected = np.stack(run(generator, crops, times))
    generator.leave_on_device = True
    left = run(generator, crops, times)
    assert all(isinstance(picture, torch.Tensor) for picture in left)
    np.testing.assert_array_equal(np.stack([picture.numpy() for picture in left]), expected)
