"""Lip Forcing as a generator, with random weights: streaming, rates, causality, memory, the release's ways."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.dubbing.chunk_grid import chunk_end
from lipsync_cli.engines.lip_forcing import parity
from lipsync_cli.engines.lip_forcing.generator import LipForcing, pack_speech
from lipsync_cli.engines.lip_forcing.load import random_networks
from lipsync_cli.engines.protocol import NO_MEL, CropChunk, LipSyncModel, WaveSpan
from tests.helpers.narrow_lip_forcing import CONFIG, CPU, make_networks

SIZE = CONFIG.crop_size
WAVE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 6).astype(np.float32)


@pytest.fixture(scope="module")
def generator() -> LipForcing:
    return LipForcing(make_networks(), CONFIG)


def make_crops(count: int, seed: int = 1) -> list[Crop]:
    rng = np.random.default_rng(seed)
    alignment = Alignment(np.eye(2, 3), SIZE)
    return [
        Crop(blocks.repeat(SIZE // 4, 0).repeat(SIZE // 4, 1), alignment, rng.uniform(0, SIZE, (68, 2)))
        for blocks in rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    ]


def at_rate(count: int, rate: Fraction = Fraction(25), start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + i / rate for i in range(count)]


def run(generator: LipForcing, crops, times, *, wave=WAVE, seed=0, extra_s=Fraction(0), silence=0.0):
    """All pictures of a segment in the chunks of the model's clock; ``extra_s`` hands over more sound than asked."""
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


def test_it_is_a_generator(generator):
    assert isinstance(generator, LipSyncModel)
    spec = generator.spec
    assert (spec.first_chunk_frames, spec.chunk_frames, spec.rate, spec.reference_frames) == (9, 12, 25, 0)
    assert spec.audio_after_s == Fraction(CONFIG.speech_lookahead + 1, 25)


def test_as_many_pictures_as_crops_and_a_cut_is_the_beginning_of_the_whole(generator):
    """Generated up to a whole chunk, handed out exactly; neither later chunks nor more sound change a chunk."""
    crops, times = make_crops(40), at_rate(40)
    whole = run(generator, crops, times)
    assert len(whole) == 40
    assert all(p.shape == (SIZE, SIZE, 3) and p.min() >= 0 and p.max() <= 1 for p in whole)
    short = run(generator, crops[:21], times[:21], extra_s=Fraction(1))
    np.testing.assert_array_equal(np.stack(short), np.stack(whole[:21]))
    assert len(run(generator, crops[:26], times[:26])) == 26


def test_every_input_shows_in_the_pictures(generator):
    crops, times = make_crops(21), at_rate(21)
    base = np.stack(run(generator, crops, times))
    assert np.array_equal(base, np.stack(run(generator, crops, times)))
    others = {
        "seed": run(generator, crops, times, seed=1),
        "crops": run(generator, make_crops(21, seed=5), times),
        "sound": run(generator, crops, times, wave=np.roll(WAVE, 5000)),
    }
    for name, other in others.items():
        assert np.abs(np.stack(other) - base).max() > 1e-4, name


def test_what_is_said_of_silence_changes_nothing(generator):
    """The network closes the mouth by what it hears or not at all; nothing in its inputs asks for it."""
    crops, times = make_crops(21), at_rate(21)
    spoken = np.stack(run(generator, crops, times))
    np.testing.assert_array_equal(np.stack(run(generator, crops, times, silence=1.0)), spoken)


def test_no_sound_beyond_the_declared_look_ahead_is_heard(generator):
    crops, times = make_crops(33), at_rate(33)
    later = WAVE.copy()
    horizon = Fraction(20, 25) + generator.spec.audio_after_s
    later[int(horizon * 16_000) :] += 1
    before, after = (np.stack(run(generator, crops, times, wave=wave)) for wave in (WAVE, later))
    assert np.array_equal(before[:21], after[:21])
    assert np.abs(before[21:] - after[21:]).max() > 1e-4


def test_no_crop_of_a_later_chunk_is_seen(generator):
    crops, times = make_crops(33), at_rate(33)
    changed = crops[:21] + make_crops(12, seed=9)
    before, after = (np.stack(run(generator, c, times)) for c in (crops, changed))
    assert np.array_equal(before[:21], after[:21])
    assert np.abs(before[21:] - after[21:]).max() > 1e-4


@pytest.mark.parametrize("rate", [Fraction(50), Fraction(30000, 1001), Fraction(24), Fraction(12), Fraction(3)])
def test_at_any_rate_every_crop_gets_the_picture_nearest_in_time(generator, rate):
    """The crops are all alike, so the pictures of the clock do not depend on the video's rate."""
    crop, seconds = make_crops(1)[0], 1.4
    clock = run(generator, [crop] * 45, at_rate(45))
    times = at_rate(int(seconds * rate), rate)
    for time, picture in zip(times, run(generator, [crop] * len(times), times), strict=True):
        nearest = int(time * 25 + Fraction(1, 2))
        np.testing.assert_allclose(picture, clock[nearest], atol=1e-6)


def test_the_clock_sees_the_crop_that_is_on_screen():
    """At 50 frames per second every other crop is seen; the others change nothing."""
    generator = LipForcing(make_networks(), CONFIG)
    crops, times = make_crops(17), at_rate(17, Fraction(50))
    base = np.stack(run(generator, crops, times))
    seen = [c if i % 2 == 0 else other for i, (c, other) in enumerate(zip(crops, make_crops(17, 4), strict=True))]
    assert np.array_equal(base, np.stack(run(generator, seen, times)))
    np.testing.assert_array_equal(base[::2], np.stack(run(generator, crops[::2], at_rate(9))))


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(5, 150), min_size=5, max_size=15), st.integers(0, 3000))
def test_uneven_frames_and_any_start_are_dubbed(gaps_ms, start_ms):
    generator = LipForcing(make_networks(), CONFIG)
    times = [Fraction(start_ms + sum(gaps_ms[:i]), 1000) for i in range(len(gaps_ms))]
    pictures = run(generator, make_crops(len(times)), times)
    assert len(pictures) == len(times)
    assert all(picture is not None and np.isfinite(picture).all() for picture in pictures)


def test_a_segment_needs_the_same_memory_however_long_it_is(generator):
    """Seven chunks; state and cache stay as they were after the third."""
    crop = make_crops(1)[0]
    state = generator.begin([], Fraction(0), seed=0)
    sizes = []
    for index in range(7):
        times = at_rate(12 if index else 9, start=Fraction(max(0, 12 * index - 3), 25))
        low = max(0, int((times[0] - generator.spec.audio_before_s) * 16_000) - 640)
        span = WaveSpan(np.zeros(32_000, np.float32), low)
        generator.step(state, CropChunk((crop,) * len(times), tuple(times), NO_MEL, np.zeros(len(times)), span))
        features = [f.numel() for f in state.encoding.features if isinstance(f, torch.Tensor)]
        memories = [m.numel() for m in state.decoding.memory.values()]
        sizes.append((state.cache.nbytes, sum(features), sum(memories), len(state.pictures)))
    assert set(sizes[2:]) == {sizes[2]}
    assert sizes[2][3] <= 1
    assert state.cache.frames == 21


def test_missing_sound_is_an_error_not_a_guess(generator):
    crops, times = make_crops(9), at_rate(9, start=Fraction(3))
    state = generator.begin([], times[0], seed=0)
    late = CropChunk(
        tuple(crops), tuple(times), NO_MEL, np.zeros(9, np.float32), WaveSpan(WAVE[48_000:60_000], 48_000)
    )
    with pytest.raises(ValueError, match="sound from sample"):
        generator.step(state, late)


@pytest.mark.parametrize("codec", ["wan", "taew"])
def test_in_bfloat16_it_stays_near_the_float32_pictures(codec):
    """On a machine without a GPU the decoder, too, is bfloat16 then; on one it is float16."""
    config = CONFIG.model_copy(update={"encoder": codec, "decoder": codec})
    exact = LipForcing(random_networks(config, device=CPU, dtype=torch.float32), config)
    half = LipForcing(random_networks(config, device=CPU, dtype=torch.bfloat16), config)
    half.networks.transformer.load_state_dict(exact.networks.transformer.state_dict())
    crops, times = make_crops(21), at_rate(21)
    one, two = (np.stack(run(generator, crops, times)) for generator in (exact, half))
    assert two.dtype == np.float32
    assert 0 < np.abs(one - two).mean() < 0.03


def test_speech_is_packed_four_frames_to_a_latent():
    features = torch.arange(9.0)[None, :, None]
    assert pack_speech(features, first=True).tolist() == [[[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8]]]
    later = torch.arange(9.0, 21.0)[None, :, None]
    assert pack_speech(later, first=False).tolist() == [[[9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]]]


def test_as_the_release_does_it_the_tail_is_cut_and_only_the_mouth_pasted():
    generator = LipForcing(make_networks(), CONFIG, release=True)
    assert generator.spec.whole_audio
    crops, times, wave = make_crops(40), at_rate(40), WAVE[: 16_000 * 40 // 25]
    pictures = run(generator, crops, times, wave=wave)
    # 40 frames are 10 latents, rounded down to 9, which are 33 frames.
    assert [i for i, picture in enumerate(pictures) if picture is not None] == list(range(33))
    brow, chin = (slice(0, 10), slice(10, 20)), (slice(22, 27), slice(10, 20))
    picture, source = pictures[12], crops[12].rgb / np.float32(255)
    np.testing.assert_allclose(picture[brow], source[brow], atol=1e-6)
    assert np.abs(picture[chin] - source[chin]).max() > 0.1


def test_the_releases_noise_depends_on_the_clips_length_and_ours_does_not():
    assert [parity.video_frames(parity.latent_frames(16_000 * n // 25, CONFIG)) for n in (5, 9, 20, 21, 40, 81)] == [
        9, 9, 9, 21, 33, 81,
    ]  # fmt: skip
    draws = [parity.SingleDraw(n, 8, torch.device("cpu"), torch.float32).noises(0, 3, 2) for n in (9, 9, 12)]
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert draws[0][0].shape == (1, 3, 16, 8, 8)
    assert not torch.equal(draws[0][0], draws[2][0])


def test_drawings_may_be_left_on_the_device():
    """As tensors they are the same pictures; the release's are mixed with the crop on the CPU and stay arrays."""
    crops, times = make_crops(9), at_rate(9)
    generator = LipForcing(make_networks(), CONFIG)
    expected = np.stack(run(generator, crops, times))
    generator.leave_on_device = True
    left = run(generator, crops, times)
    assert all(isinstance(picture, torch.Tensor) for picture in left)
    np.testing.assert_array_equal(np.stack([picture.numpy() for picture in left]), expected)
    generator.release = True
    assert isinstance(run(generator, crops, times)[0], np.ndarray)
