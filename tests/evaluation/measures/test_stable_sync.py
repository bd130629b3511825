"""StableSyncNet: the windows it is shown, the sound of their time, and the score of both."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lipsync_cli.audio.wav2lip_mel import column_samples, first_column, wav2lip_mel
from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import Face, FaceState
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.measure import AlignedSound, ClipContext, ClipSounds
from lipsync_cli.evaluation.measures import stable_sync
from lipsync_cli.evaluation.measures.stable_sync import (
    STRIDE,
    StableSync,
    aligned_half,
    frame_major,
    load_stable_sync,
    mel_windows,
)
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.media.audio import open_speech
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig, StableSyncNet, TowerConfig, lower_halves
from lipsync_cli.nn.sync.stable_syncnet_file import save_stable_syncnet
from lipsync_cli.synthetic import write_voice
from tests.helpers.measured_frames import UPRIGHT, FixedNetworks
from tests.helpers.metric_files import TINY_STABLE

LANDMARKS = MEAN_FACE[:, :2] * 64 + 16


@pytest.fixture(scope="module")
def network() -> StableSyncNet:
    torch.manual_seed(0)
    return StableSyncNet(TINY_STABLE).eval()


def frame_of(index: int) -> MeasuredFrame:
    rgb = np.random.default_rng(index).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    face = Face(0, (16.0, 16.0, 80.0, 80.0), LANDMARKS, 1.0, 0.0, FaceState.OK)
    return MeasuredFrame(index, Fraction(index, 25), rgb, face, None)


def measure_with(network: StableSyncNet) -> StableSync:
    return StableSync(ClipContext(UPRIGHT, FixedNetworks(network)))


def test_lower_half_begins_below_the_nose() -> None:
    """Red above the upper lip's height, green below: nearly all that is seen is green."""
    picture = np.zeros((96, 96, 3), np.uint8)
    nose, lip = int(LANDMARKS[33, 1]), int(LANDMARKS[51, 1])
    picture[:nose, :, 0] = picture[lip:, :, 1] = 255
    half = aligned_half(picture, LANDMARKS, UPRIGHT, 128)
    assert half.shape == (128, 256, 3)
    assert half[4:, :, 0].max() == 0
    # Brows 41 units of 75 apart, so the mouth is about as wide as a third of the window, in its middle.
    assert half[:4, :, 1].max() == 0 and half[48:, :, 1].min() == 255
    # A file turned upside down shows the same.
    turned = np.array([[-1.0, 0, 95], [0, -1, 95]])
    np.testing.assert_allclose(aligned_half(picture[::-1, ::-1], LANDMARKS, turned, 128), half, atol=1)


def test_windows_are_laid_out_as_in_training_on_tensors() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(crops).permute(0, 1, 4, 2, 3).float()
    np.testing.assert_array_equal(frame_major(crops[:, :, 16:]), lower_halves(pixels).numpy())


@settings(max_examples=8, deadline=None)
@given(st.integers(-4000, 20_000), st.integers(-20, 40), st.integers(1, 9))
@example(0, -17, 1)  # wholly before the sound
def test_the_mel_of_a_window_is_that_of_its_frames(origin: int, first: int, count: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    windows = mel_windows(samples, origin, range(first, first + count), 52)
    assert windows.shape == (count, 1, 80, 52)
    start, stop = column_samples(first_column(first + count - 1), 52)
    padded = np.pad(samples, 60_000)[60_000 + origin + start : 60_000 + origin + stop]
    np.testing.assert_allclose(windows[-1, 0], wav2lip_mel(padded), atol=2e-4)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_lost_face_ends_a_run_and_windows_begin_every_fourth_frame(lengths: list[int]) -> None:
    class Counting(StableSyncNet):
        def picture(self, frames: torch.Tensor) -> torch.Tensor:
            return torch.zeros(1, 1)

    measure, wanted, at = measure_with(Counting(TINY_STABLE)), [], 0
    frame = frame_of(0)
    for length in lengths:
        for _ in range(length):
            measure.add_on_grid(frame)
        measure.add_on_grid(None)
        if length >= 16:
            wanted.append((at, (length - 16) // STRIDE + 1))
        at += length + 1
    assert [(run.first, len(run.rows)) for run in measure.runs] == wanted


@pytest.mark.parametrize("start", [Fraction(0), Fraction(2, 25), Fraction(-1, 10)])
def test_the_score_is_that_of_each_window_with_its_sound(
    start: Fraction, network: StableSyncNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stable_sync, "_SOUNDS_AT_ONCE", 7)
    write_voice(tmp_path / "voice.wav", 2.0)
    frames, missing = [frame_of(index) for index in range(36)], 3
    measure = measure_with(network)
    for _ in range(missing):
        measure.add_on_grid(None)
    for frame in frames:
        measure.add_on_grid(frame)
    score = measure.score(AlignedSound(tmp_path / "voice.wav", start))
    assert score is not None and score.windows == 6
    assert measure.values(ClipSounds(Fraction(0), AlignedSound(tmp_path / "voice.wav", start))) == {
        "stable_sync": 1 - score.at(0),
        "stable_sync_confidence": score.confidence,
        "stable_sync_offset": score.av_offset,
    }

    with open_speech(tmp_path / "voice.wav") as spans:
        samples = np.concatenate([span.samples[0] for span in spans])
    halves = np.stack([aligned_half(frame.rgb, LANDMARKS, UPRIGHT, 16) for frame in frames])
    for offset in (0, 2, -5):
        cosines = []
        for i in range(0, 21, STRIDE):
            heard = missing + i - offset
            if start + Fraction(heard, 25) >= 0 and start + Fraction(heard + 16, 25) <= 2:
                pixels = torch.from_numpy(frame_major(halves[i : i + 16]))[None].float() / 127.5 - 1
                mel = torch.from_numpy(mel_windows(samples, round(16_000 * start), range(heard, heard + 1), 52))
                cosines.append(float(network(pixels, mel).detach()))
        assert score.at(offset) == pytest.approx(1 - np.mean(cosines), abs=1e-5), offset


def test_too_little_to_compare_is_no_score(network: StableSyncNet, tmp_path: Path) -> None:
    write_voice(tmp_path / "voice.wav", 0.5)
    measure = measure_with(network)
    for index in range(20):
        measure.add_on_grid(frame_of(index))
    assert measure.score(AlignedSound(tmp_path / "voice.wav", Fraction(0))) is None


def test_network_that_looks_at_latents_is_refused(tmp_path: Path) -> None:
    config = StableSyncConfig(2, TINY_STABLE.audio, TowerConfig((8, 4, 4), (4, 8), (2, 2)), groups=2)
    path = tmp_path / "latent.pt"
    save_stable_syncnet(path, StableSyncNet(config).state_dict(), config, step=0)
    with pytest.raises(ModelError, match="compares VAE latents"):
        load_stable_sync(path)
    assert not CONFIGS["16_latent"].sees_pixels
