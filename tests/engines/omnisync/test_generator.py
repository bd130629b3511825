"""OmniSync as a generator, with random weights: windows, streaming, seams, sound, rates, memory."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli import hub
from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.dubbing.chunk_grid import chunk_end
from lipsync_cli.engines.omnisync.cost import codec_flops
from lipsync_cli.engines.omnisync.engine import OmniSyncEngine
from lipsync_cli.engines.omnisync.generator import OmniSync, faded
from lipsync_cli.engines.omnisync.mouth_map import MouthTrack
from lipsync_cli.engines.omnisync.speech_features import by_latent_frame
from lipsync_cli.engines.options import read_options
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel, MelSpan, WaveSpan
from tests.helpers.narrow_omnisync import PIXELS, WAN, config, make_networks

RNG = np.random.default_rng(0)
ROWS = RNG.normal(0, 0.5, (100 * 8, 80)).astype(np.float32)
WAVE = RNG.normal(0, 0.1, 16_000 * 6).astype(np.float32)
MARGIN = 200


@pytest.fixture(scope="module")
def generator() -> OmniSync:
    made = config()
    return OmniSync(make_networks(made), made)


@pytest.fixture(scope="module")
def wan() -> OmniSync:
    made = config(WAN)
    return OmniSync(make_networks(made), made)


def make_crops(count: int, seed: int = 1, size: int = 32) -> list[Crop]:
    rng = np.random.default_rng(seed)
    landmarks = rng.uniform(0, size, (68, 2))
    return [
        Crop(blocks.repeat(size // 4, 0).repeat(size // 4, 1), Alignment(np.eye(2, 3), size), landmarks)
        for blocks in rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    ]


def at_rate(count: int, rate: Fraction = Fraction(25), start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + i / rate for i in range(count)]


def run(generator, crops, times, *, rows=ROWS, wave=WAVE, seed=0, extra_s=Fraction(0), watch=lambda state: None):
    """Every picture of a segment in the chunks of the model's clock; ``extra_s`` hands over more sound than asked."""
    spec = generator.spec
    state = generator.begin([], times[0], seed=seed)
    ends = [chunk_end(spec, (time - times[0]) * spec.rate) for time in times]
    out, previous = [], times[0]
    for end in sorted(set(ends)):
        own = [i for i, e in enumerate(ends) if e == end]
        low, high = previous - spec.audio_before_s - extra_s, times[0] + end / 25 + spec.audio_after_s + extra_s
        first, last = int(low * 100 // 1), -int(-high * 100 // 1)
        mel = MelSpan(rows[first + MARGIN : last + 1 + MARGIN], first)
        begin = max(0, int(low * 16_000 // 1))
        span = WaveSpan(wave[begin : -int(-high * 16_000 // 1)], begin)
        parts = tuple(crops[i] for i in own), tuple(times[i] for i in own)
        out += generator.step(state, CropChunk(*parts, mel, np.zeros(len(own), np.float32), span))
        previous = times[own[-1]]
        watch(state)
    out += generator.finish(state)
    return np.stack([drawing.rgb for drawing in out])


def test_it_is_a_generator_that_looks_ahead(generator, wan):
    assert isinstance(generator, LipSyncModel) and generator.spec.lag_frames and generator.flops_per_frame() > 0
    spec = generator.spec
    assert (spec.first_chunk_frames, spec.chunk_frames, spec.lag_frames, spec.audio) == (6, 4, 2, "mel")
    spec = wan.spec
    assert (spec.first_chunk_frames, spec.chunk_frames, spec.lag_frames, spec.audio) == (13, 12, 4, "waveform")


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 23])
def test_as_many_pictures_as_crops(generator, frames):
    pictures = run(generator, make_crops(frames), at_rate(frames))
    assert pictures.shape == (frames, 32, 32, 3)
    assert np.isfinite(pictures).all() and pictures.min() >= 0 and pictures.max() <= 1


def test_with_an_autoencoder_of_four_frames_a_latent_too(wan):
    stages = []

    class Noting:
        def __init__(self, stage):
            stages.append(stage)

        def __enter__(self): ...
        def __exit__(self, *_): ...

    wan.watch = Noting
    pictures = run(wan, make_crops(30), at_rate(30))
    assert pictures.shape == (30, 32, 32, 3) and np.isfinite(pictures).all()
    assert stages[:4] == ["encode", "speech", "transformer", "decode"]


@pytest.mark.parametrize("kind", ["generator", "wan"])
def test_every_input_shows_in_the_pictures(kind, request):
    made = request.getfixturevalue(kind)
    crops, times = make_crops(14), at_rate(14)
    base = run(made, crops, times)
    assert np.array_equal(base, run(made, crops, times))
    others = {
        "seed": run(made, crops, times, seed=1),
        "crops": run(made, make_crops(14, seed=5), times),
        "sound": run(made, crops, times, rows=np.roll(ROWS, 50, 0), wave=np.roll(WAVE, 5000)),
    }
    for name, other in others.items():
        assert np.abs(other - base).max() > 1e-4, name


@pytest.mark.parametrize("kind", ["generator", "wan"])
def test_no_more_sound_than_declared_is_heard(kind, request):
    """Neither sound after the declared look-ahead nor sound from before the declared past changes anything."""
    made = request.getfixturevalue(kind)
    frames = 18 if kind == "generator" else 25
    crops, times = make_crops(frames), at_rate(frames, start=Fraction(1))
    base = run(made, crops, times)
    assert np.array_equal(base, run(made, crops, times, extra_s=Fraction(1, 2)))
    end = times[0] + Fraction(chunk_end(made.spec, Fraction(frames - 1)), 25) + made.spec.audio_after_s
    rows, wave = ROWS.copy(), WAVE.copy()
    rows[int(end * 100) + 2 + MARGIN :] += 1
    wave[int(end * 16_000) + 1 :] += 1
    assert np.array_equal(base, run(made, crops, times, rows=rows, wave=wave, extra_s=Fraction(1, 2)))


def test_a_picture_depends_on_nothing_beyond_the_window_after_it(generator):
    """Bidirectional within windows: what is final when a chunk has been taken does not depend on later chunks."""
    crops, times = make_crops(22), at_rate(22)
    base = run(generator, crops, times)
    changed = run(generator, crops[:10] + make_crops(12, seed=9), times)
    # Windows end at 6, 10, 14 …; with ten crops seen eight are final.
    assert np.array_equal(base[:8], changed[:8])
    assert np.abs(base[8:] - changed[8:]).max() > 1e-4


def test_pictures_are_handed_out_once_they_are_final(generator):
    sizes = []
    state = generator.begin([], Fraction(0), seed=0)
    crops, times, first = make_crops(14), at_rate(14), int(-generator.spec.audio_before_s * 100 // 1)
    for low, high in ((0, 6), (6, 10), (10, 14)):
        chunk = CropChunk(tuple(crops[low:high]), tuple(times[low:high]), MelSpan(ROWS, first), np.zeros(high - low))
        sizes.append(len(generator.step(state, chunk)))
    assert sizes == [4, 4, 4] and len(generator.finish(state)) == 2


def test_windows_are_faded_into_each_other_before_decoding():
    """By hand: two windows of the same clip, with the same noise by absolute frame, mixed where both are."""
    made = config(pni="off", audio_cfg=1.0)
    generator, crops, times = OmniSync(make_networks(made), made), make_crops(10), at_rate(10)
    out = run(generator, crops, times)
    edits = []
    edit = generator._edit
    generator._edit = lambda *args: edits.append(edit(*args)) or edits[-1]
    assert np.array_equal(run(generator, crops, times), out)
    first, second = edits
    third = torch.tensor([1 / 3, 2 / 3]).view(1, 2, 1, 1, 1)
    mixed = first[:, 4:] + third * (second[:, :2] - first[:, 4:])
    whole = torch.cat([first[:, :4], mixed, second[:, 2:]], 1)
    pictures = generator.networks.codec.decode(whole, None)[0].permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(out, pictures, atol=1e-5)
    torch.testing.assert_close(faded(torch.zeros(1, 3, 1, 1, 1), torch.ones(1, 3, 1, 1, 1)).flatten(),
                               torch.tensor([0.25, 0.5, 0.75]))  # fmt: skip


@pytest.mark.parametrize("rate", [Fraction(50), Fraction(30000, 1001), Fraction(3)])
def test_at_any_rate_every_crop_gets_the_picture_nearest_in_time(generator, rate):
    """But for the last ones, which no further window is faded into."""
    crop, spec = make_crops(1)[0], generator.spec
    clock = run(generator, [crop] * 26, at_rate(26))
    times = at_rate(int(rate * 4 / 5), rate)
    final = chunk_end(spec, times[-1] * 25) + 1 - spec.lag_frames
    for time, picture in zip(times, run(generator, [crop] * len(times), times), strict=True):
        nearest = int(time * 25 + Fraction(1, 2))
        if nearest < final:
            np.testing.assert_allclose(picture, clock[nearest], atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(5, 150), min_size=5, max_size=12), st.integers(0, 1500))
def test_uneven_frames_and_any_start_are_dubbed(gaps_ms, start_ms):
    made = config(steps=1)
    generator = OmniSync(make_networks(made), made)
    times = [Fraction(start_ms + sum(gaps_ms[:i]), 1000) for i in range(len(gaps_ms))]
    assert len(run(generator, make_crops(len(times)), times)) == len(times)


def test_a_segment_needs_the_same_memory_however_long_it_is(generator):
    sizes = []

    def held(state):
        tensors = (state.sources, state.tail, state.mouth.latents, state.mouth.last)
        sizes.append((sum(t.numel() for t in tensors), len(state.pictures), len(state.owed)))

    run(generator, make_crops(1) * 42, at_rate(42), watch=held)
    assert len(sizes) == 10 and len(set(sizes[1:])) == 1 and sizes[0] == sizes[1]


def test_a_source_that_is_kept_comes_back(generator):
    """With no noise at all the video is not touched, and with everything locked but the mouth the rest is not."""
    crops, times = make_crops(9), at_rate(9)
    source = np.stack([crop.rgb for crop in crops]) / 255
    still = config(pni_tau=0.0)
    np.testing.assert_allclose(run(OmniSync(make_networks(still), still), crops, times), source, atol=1e-5)
    locked = config(region_lock=1.0, crop_size=64, pixel_fold=4)
    generator, crops = OmniSync(make_networks(locked), locked), make_crops(9, size=64)
    source = np.stack([crop.rgb for crop in crops]) / 255
    change = np.abs(run(generator, crops, times) - source).max((0, 3))
    assert change[:12].max() < 1e-5 and change[40:50, 28:36].max() > 1e-2


def test_the_mouth_is_followed_in_latent_pixels(generator):
    made = config(WAN)
    crop = make_crops(1)[0]
    landmarks = np.zeros((68, 2))
    landmarks[48:68] = (11.5, 19.5)
    landmarks[16] = (16.0, 0.0)
    track = MouthTrack.begin()
    moving = [Crop(crop.rgb, crop.alignment, landmarks + np.array([8.0 * (i >= 5), 0.0])) for i in range(9)]
    track.follow(moving, made, first=True, keep=0)
    np.testing.assert_allclose(track.latents[:, 0], 2.0)
    # Median of five, then means over frames 0, 1 to 4 and 5 to 8: the step lies between the last two.
    np.testing.assert_allclose(track.latents[:, 1], [1.0, 1.0, 2.0])
    np.testing.assert_allclose(track.latents[:, 2], 16.0)
    assert track.map(made).shape == (1, 3, 1, 4, 4) and int(track.map(made)[0, 0].argmax()) == 4 * 2 + 1
    track.follow(moving[:4], made, first=False, keep=2)
    assert len(track.latents) == 3


def test_each_latent_frame_hears_its_own_frames_and_their_neighbours():
    made = config(WAN)
    first, count = made.first_heard(0), made.heard_frames(3)
    numbers = torch.arange(first, first + count).float().view(-1, 1, 1).expand(-1, 2, 5)
    heard = by_latent_frame(made, numbers)
    assert heard.shape == (3, made.transformer().audio_tokens, 5)
    frames = [sorted(set(tokens[:, 0].tolist())) for tokens in heard]
    assert frames == [list(range(-4, 2)), list(range(0, 6)), list(range(4, 10))]


def test_options_change_how_a_model_samples_and_mistakes_are_named():
    engine, card = OmniSyncEngine(), hub.load_card("omnisync").model_copy(update={"generator": PIXELS})

    def configured(**options):
        return engine.configure(engine.read(card), read_options(engine, card, options, {}))

    changed = configured(steps="7", pni="off", cfg_window="band:0.5-0.9").sampler()
    assert (changed.steps, changed.start.tau, changed.guidance.window.low) == (7, 1.0, 0.5)
    assert configured() == engine.read(card)
    for wrong, said in (
        ({"width": "3"}, "no option 'width'"),
        ({"steps": "0"}, "expected 1–1000"),
        ({"cfg_window": "x"}, "cfg_window=x"),
        ({"pni": "maybe"}, "expected on, off"),
        ({"pni_mouth_tau": "1", "cfg_map": "flat"}, "flat"),
    ):
        with pytest.raises(UsageError, match=said):
            configured(**wrong)


@pytest.mark.parametrize(("changes", "said"), [({"overlap": 4}, "overlap"), ({"crop_size": 40}, "multiple of 16")])
def test_sizes_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        config(**changes)


def test_a_window_longer_than_whisper_hears_is_refused():
    with pytest.raises(ValueError, match="heard over"):
        config(WAN, speech_past=40)


@pytest.mark.slow
def test_operations_of_the_autoencoder_are_counted(wan):
    assert wan.flops_per_frame() > codec_flops(wan.config) / wan.spec.chunk_frames > 0


def test_operations_are_counted(generator):
    doubled = config(steps=6)
    assert OmniSync(make_networks(doubled), doubled).flops_per_frame() == pytest.approx(
        generator.flops_per_frame() * doubled.sampler().passes() / config().sampler().passes()
    )
    plain = config(audio_cfg=1.0, pni="off")
    assert plain.sampler().passes() == 3 and config(pni="off").sampler().passes() == 5
