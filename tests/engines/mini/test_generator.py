"""The embedded generator with random weights: streaming, rates, silence, and what it says of wrong weights."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError, UsageError
from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.types import MEL_RATE, Alignment, Crop
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.mini.config import MiniConfig, read_config
from lipsync_cli.engines.mini.generator import LipForcingMini, MiniNetworks, load_networks
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel, MelSpan

CONFIG = read_config({"crop_size": 64, "latent": 6, "width": 16, "layers": 2, "heads": 2, "window": 8}, model="test")
RNG = np.random.default_rng(0)
MEL = RNG.normal(0, 1, (900, 80)).astype(np.float32)
MEL_FIRST = -100


def make_networks(config: MiniConfig = CONFIG, seed: int = 0) -> MiniNetworks:
    torch.manual_seed(seed)
    networks = MiniNetworks(config).eval()
    for name, parameter in networks.named_parameters():
        if "modulation" in name or "velocity" in name:  # zero by default: nothing would depend on anything
            torch.nn.init.normal_(parameter, std=0.2)
    return networks


@pytest.fixture(scope="module")
def generator() -> LipForcingMini:
    return LipForcingMini(make_networks(), CONFIG)


def make_crops(count: int, seed: int = 1) -> list[Crop]:
    rng = np.random.default_rng(seed)
    alignment = Alignment(np.array([[1.0, 0, 0], [0, 1, 0]]), 64)
    return [
        Crop(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), alignment, rng.uniform(0, 64, (68, 2)))
        for _ in range(count)
    ]


def run(generator: LipForcingMini, crops, times, sizes, *, mel=MEL, silence=None, seed=0):
    """All pictures of a segment cut into chunks of ``sizes``."""
    spec = generator.spec
    state = generator.begin(crops[:5], times[0], seed=seed)
    silence = np.zeros(len(crops), np.float32) if silence is None else silence
    out, first, previous = [], 0, times[0]
    for size in sizes:
        part = slice(first, first + size)
        begin = int((previous - spec.audio_before_s) * MEL_RATE // 1)
        end = -int(-(times[part][-1] + spec.audio_after_s) * MEL_RATE // 1)
        rows = mel[begin - MEL_FIRST : end - MEL_FIRST + 1]
        chunk = CropChunk(tuple(crops[part]), tuple(times[part]), MelSpan(rows, begin), silence[part])
        out += [drawing.rgb for drawing in generator.step(state, chunk)]
        first, previous = first + size, times[part][-1]
    return np.stack(out)


def at_rate(count: int, rate: Fraction, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + i / rate for i in range(count)]


def test_it_is_a_generator(generator):
    assert isinstance(generator, LipSyncModel)
    assert generator.spec.audio_after_s - Fraction(CONFIG.chunk, 25) <= Fraction(1, 5)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8), st.sampled_from([(25, 1), (30000, 1001), (50, 1), (12, 1)])
)
def test_any_split_into_steps_gives_the_same_pictures(sizes, rate):
    """Stronger than the protocol asks: not even the chunk size matters, at any frame rate."""
    generator = LipForcingMini(make_networks(), CONFIG)
    count = sum(sizes)
    crops, times = make_crops(count), at_rate(count, Fraction(*rate), Fraction(7, 3))
    whole, split = (run(generator, crops, times, cut) for cut in ([count], sizes))
    np.testing.assert_allclose(split, whole, atol=2e-5)


def test_crops_that_are_drawn_side_by_side_are_the_same():
    """The bank grows between the crops of a chunk, whichever of them is done first."""
    config = CONFIG.model_copy(update={"bank": 6, "sharpen": 0.5})
    crops, times = make_crops(24, seed=3), at_rate(24, Fraction(25))
    alone, together = (
        run(LipForcingMini(make_networks(), config, drawers=drawers), crops, times, [4] * 6) for drawers in (1, 3)
    )
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_same_seed_same_pictures_other_seed_others(generator):
    crops, times = make_crops(8), at_rate(8, Fraction(25))
    first = run(generator, crops, times, [4, 4])
    assert np.array_equal(first, run(generator, crops, times, [4, 4]))
    assert np.abs(first - run(generator, crops, times, [4, 4], seed=1)).max() > 1e-4


def test_temperature_scales_the_noise_of_each_step():
    crops, times = make_crops(8), at_rate(8, Fraction(25))
    drawn = {}
    for temperature in [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]:
        config = CONFIG.model_copy(update={"temperature": temperature})
        seeds = [run(LipForcingMini(make_networks(), config), crops, times, [4, 4], seed=seed) for seed in (0, 1)]
        drawn[temperature] = seeds[0]
        # Without any noise the seed has nothing to say.
        assert np.array_equal(*seeds) == (temperature == (0.0, 0.0))
    pictures = list(drawn.values())
    assert all(not np.array_equal(pictures[i], pictures[j]) for i in range(4) for j in range(i))
    with pytest.raises(ModelError, match="temperature"):
        read_config({"schedule": [0.999], "temperature": [1.0, 1.0]}, model="test")


def test_pictures_depend_on_no_audio_beyond_the_declared_look_ahead(generator):
    crops, times = make_crops(12), at_rate(12, Fraction(25))
    later = MEL.copy()
    horizon = times[3] + generator.spec.audio_after_s
    later[int(horizon * MEL_RATE) + 1 - MEL_FIRST :] += 5
    before, after = (run(generator, crops, times, [4, 4, 4], mel=mel) for mel in (MEL, later))
    assert np.array_equal(before[:4], after[:4])
    assert np.abs(before[8:] - after[8:]).max() > 1e-4


def test_states_between_grid_points_are_interpolated(generator):
    """At 50 frames per second every other frame falls between two states."""
    crop = make_crops(1)[0]
    crops = [crop] * 9
    fast = run(generator, crops, at_rate(9, Fraction(50)), [9])
    slow = run(generator, crops[:5], at_rate(5, Fraction(25)), [5])
    np.testing.assert_allclose(fast[::2], slow, atol=1e-6)
    assert np.abs(fast[1] - fast[0]).max() > 0 and np.abs(fast[1] - fast[2]).max() > 0


def test_silence_brings_the_mouth_to_rest(generator):
    crops, times = make_crops(8), at_rate(8, Fraction(25))
    silent = np.ones(8, np.float32)
    quiet = run(generator, crops, times, [4, 4], silence=silent)
    loud = run(generator, crops, times, [4, 4], mel=MEL + 1, silence=silent)
    np.testing.assert_allclose(quiet, loud, atol=1e-5)
    assert np.abs(quiet - run(generator, crops, times, [4, 4])).max() > 1e-4


def test_the_past_does_not_grow(generator):
    crops, times = make_crops(4), at_rate(80, Fraction(25))
    mel = np.zeros((500, 80), np.float32)
    state = generator.begin(crops, times[0], seed=0)
    for first in range(0, 80, 4):
        part = times[first : first + 4]
        chunk = CropChunk(tuple(crops), tuple(part), MelSpan(mel, -100), np.zeros(4, np.float32))
        generator.step(state, chunk)
        assert len(state.z) <= CONFIG.chunk + 2
        assert state.cache.keys[0].shape[2] <= CONFIG.window


def test_missing_audio_is_an_error_not_a_guess(generator):
    crops, times = make_crops(4), at_rate(4, Fraction(25))
    state = generator.begin(crops, times[0], seed=0)
    short = CropChunk(tuple(crops), tuple(times), MelSpan(MEL[:20], 0), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="mel rows"):
        generator.step(state, short)


def weights_file(folder: Path, change) -> Path:
    tensors = {key: value.clone() for key, value in make_networks().state_dict().items()}
    change(tensors)
    save_file(tensors, folder / "w.safetensors")
    return folder / "w.safetensors"


def test_weights_load_exactly(tmp_path):
    path = weights_file(tmp_path, lambda tensors: None)
    loaded = load_networks(path, CONFIG).state_dict()
    for key, value in make_networks().state_dict().items():
        assert torch.equal(loaded[key].to(value.dtype), value), key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("flow.velocity.bias"), "1 missing (flow.velocity.bias)"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 unexpected (extra)"),
        (lambda t: t.update({"flow.velocity.bias": torch.zeros(9)}), "flow.velocity.bias [9] instead of [6]"),
    ],
)
def test_foreign_weights_are_named(tmp_path, change, said):
    with pytest.raises(ModelError) as error:
        load_networks(weights_file(tmp_path, change), CONFIG)
    assert said in str(error.value)


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not a tensor file")
    with pytest.raises(ModelError, match="no readable safetensors"):
        load_networks(path, CONFIG)


def test_unknown_hyper_parameters_are_refused():
    with pytest.raises(ModelError, match=r"wrong at colour"):
        read_config({"colour": 3}, model="m")


def test_loading_does_not_import_torchs_compiler() -> None:
    """It takes longer than all else that a dub waits for at its start."""
    code = """if True:
        import sys
        from lipsync_cli import hub
        from lipsync_cli.engines.loading import load_model
        load_model(hub.load_card("lip-forcing-mini"))
        sys.exit("torch._dynamo" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def read_by_the_first_number() -> LipForcingMini:
    """Points lie still but for the lower inner lip, which the first number moves: the aperture is that number."""
    networks = make_networks()
    torch.nn.init.zeros_(networks.encoder.points.weight)
    with torch.no_grad():
        for point in (17, 18, 19):
            networks.encoder.points.weight[2 * point + 1, 0] = 1.0
    networks.flow.opening.copy_(torch.tensor([1.0, 0.5, 0, 0, 0, 0]))
    return LipForcingMini(networks, CONFIG)


def test_rest_is_the_persons_own_most_closed_mouth_closed_for_good() -> None:
    generator = read_by_the_first_number()
    general = torch.tensor([0.002, 0, 7.0, 0, 0, 0])
    generator.networks.flow.rest.copy_(general)
    mouths = torch.zeros(3, 6)
    mouths[:, 0] = torch.tensor([0.03, 0.006, 0.05])
    mouths[:, 3] = torch.tensor([1.0, 2.0, 3.0])
    closed = torch.tensor([0.002, -0.002, 0, 2.0, 0, 0])
    torch.testing.assert_close(generator._rest(mouths), closed, rtol=1e-3, atol=1e-6)
    mouths[1, :2] = torch.tensor([-0.001, -0.0035])  # pressed together, they are let go
    torch.testing.assert_close(generator._rest(mouths), closed, rtol=1e-3, atol=1e-6)
    assert torch.equal(generator._rest(mouths[[0, 2]]), general)


def test_lips_at_rest_are_offered_open_and_closed() -> None:
    generator = read_by_the_first_number()
    encoder = generator.networks.encoder
    still = torch.zeros(3, 6)
    still[:, 0] = torch.tensor([0.021, 0.020, 0.022])
    offered = generator._varied(still)
    torch.testing.assert_close(encoder.aperture(offered), torch.tensor([0.002, 0.021, 0.08]), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(offered[2, 1], torch.tensor(0.5 * (0.08 - 0.022)), rtol=1e-3, atol=1e-5)
    speaking = still.clone()
    speaking[0, 0] = 0.06
    assert torch.equal(generator._varied(speaking), speaking)


def test_the_crop_size_can_be_chosen_but_not_below_what_a_mouth_needs() -> None:
    card = hub.load_card("lip-forcing-mini")
    assert load_model(card, {"crop_size": 96}).spec.crop_size == 96
    assert load_model(card).spec.crop_size == card.generator["crop_size"]
    with pytest.raises(UsageError, match="cannot be 48"):
        load_model(card, {"crop_size": 48})


def test_speech_moves_the_jaw_up_and_down_only(generator) -> None:
    crops, times = make_crops(12), at_rate(12, Fraction(25))
    state = generator.begin(crops[:5], times[0], seed=0)
    begin = int(-generator.spec.audio_before_s * MEL_RATE // 1)
    mel = MelSpan(MEL[begin - MEL_FIRST :], begin)
    drawings = generator.step(state, CropChunk(tuple(crops), tuple(times), mel, np.zeros(12, np.float32)))
    jaws = np.stack([drawing.jaw for drawing in drawings])
    own = np.stack([crop.landmarks[list(JAW), 0] for crop in crops])
    np.testing.assert_allclose(jaws[..., 0], own, atol=1e-3)
    assert np.ptp(jaws[..., 1], axis=0).min() > 1e-3


def test_drawings_may_be_left_on_the_device(monkeypatch):
    """As tensors they are the same pictures, sharpened by torch instead of OpenCV."""
    generator = LipForcingMini(make_networks(), CONFIG.model_copy(update={"sharpen": 0.3}))
    crops, times, step, seen = make_crops(8), at_rate(8, Fraction(25)), generator.step, []

    def watched(state, chunk):
        drawings = step(state, chunk)
        seen.extend(type(drawing.rgb) for drawing in drawings)
        return drawings

    monkeypatch.setattr(generator, "step", watched)
    expected = run(generator, crops, times, [4, 4])
    generator.leave_on_device = True
    np.testing.assert_allclose(run(generator, crops, times, [4, 4]), expected, atol=1e-5)
    assert seen == [np.ndarray] * 8 + [torch.Tensor] * 8
