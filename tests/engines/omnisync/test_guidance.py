"""Guidance: the published table, the map's place and shape, windows in time, and passes that are not made."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.engines.omnisync.guidance import (
    BandWindow,
    ConstantWindow,
    Guidance,
    PowerWindow,
    by_latent,
    mouth_map,
    parse_window,
    smooth_centres,
)

PAPER = {"peak": 4.5, "base": 1.0, "min_scale": 0.0}
# σ, σ^1.5, then mouth and far away: literal, normalised.
TABLE = (
    (0.92, 0.882, 17.87, 3.97, 3.97, 0.88),
    (0.85, 0.784, 15.87, 3.53, 3.53, 0.78),
    (0.70, 0.586, 11.86, 2.64, 2.64, 0.59),
    (0.50, 0.354, 7.16, 1.59, 1.59, 0.35),
    (0.35, 0.207, 4.19, 0.93, 0.93, 0.21),
    (0.25, 0.125, 2.53, 0.56, 0.56, 0.12),
    (0.10, 0.032, 0.64, 0.14, 0.14, 0.03),
)


@pytest.mark.parametrize("row", TABLE)
def test_the_table_to_two_decimals(row):
    sigma, in_time, *wanted = row
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    got = [float(s) for mode in ("literal", "normalised") for s in Guidance(**PAPER, mode=mode).scales(ends, sigma)]
    assert PowerWindow(1.5)(sigma) == pytest.approx(in_time, abs=5e-4)
    # A value such as 0.125 may be printed either way.
    assert all(abs(a - b) <= 0.005 + 1e-9 for a, b in zip(got, wanted, strict=True)), got


class Toy:
    """Two velocities that differ, and a count of how often each was asked for."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.with_sound, self.without = torch.randn(2, 1, 3, 4, 6, 7, generator=generator).unbind(0)
        self.asked: list[bool] = []

    def __call__(self, x, sigma, sound):
        self.asked.append(sound)
        return self.with_sound if sound else self.without


@given(st.floats(1.1, 12), st.floats(0.01, 1))
def test_flat_in_space_and_time_it_is_the_usual_guidance(peak, sigma):
    toy, mouth = Toy(), torch.rand(3, 1, 6, 7)
    guidance = Guidance(peak=peak, base=peak, window=PowerWindow(0.0))
    x = torch.zeros(1, 3, 4, 6, 7)
    expected = toy.without + torch.tensor(peak).to(x) * (toy.with_sound - toy.without)
    torch.testing.assert_close(guidance.velocity(toy, x, sigma, mouth), expected, rtol=1e-5, atol=1e-6)
    constant = Guidance(peak=peak, base=peak, window=ConstantWindow())
    assert torch.equal(constant.velocity(toy, x, sigma, mouth), guidance.velocity(toy, x, sigma, mouth))


@given(st.floats(0, 8), st.floats(0, 10), st.floats(0.1, 1), st.sampled_from(["normalised", "literal"]))
def test_the_largest_scale_is_at_the_mouth(row, column, sigma, mode):
    place = mouth_map((9, 11), torch.tensor([[row, column]], dtype=torch.float64), 2.0)
    scales = Guidance(**PAPER, mode=mode).scales(place, sigma)[0, 0]
    at = divmod(int(scales.argmax()), 11)
    assert abs(at[0] - row) <= 0.5 + 1e-9 and abs(at[1] - column) <= 0.5 + 1e-9
    exact = mouth_map((9, 11), torch.tensor([[4.0, 6.0]]), 2.0)
    peak = 4.5 * sigma**1.5 * (4.5 if mode == "literal" else 1)
    assert float(Guidance(**PAPER, mode=mode).scales(exact, sigma)[0, 0, 4, 6]) == pytest.approx(peak, rel=1e-5)


@given(st.integers(1, 7), st.integers(1, 8))
def test_one_latent_pixel_further_the_maximum_is_one_further(row, column):
    centres = torch.tensor([[row, column], [row + 1, column], [row, column + 1]], dtype=torch.float32)
    maps = mouth_map((10, 11), centres, 1.5)[:, 0]
    found = [divmod(int(m.argmax()), 11) for m in maps]
    assert found == [(row, column), (row + 1, column), (row, column + 1)]


def test_the_map_is_round_in_pixels():
    """Latent pixels twice as high as wide: half as many of them down as across."""
    place = mouth_map((21, 41), torch.tensor([[10.0, 20.0]]), 8.0, unit=(2.0, 1.0))[0, 0]
    assert float(place[10, 20]) == 1
    for reach in (1, 3, 5):
        assert float(place[10 + reach, 20]) == pytest.approx(float(place[10, 20 + 2 * reach]))
    assert float(place[10, 28]) == pytest.approx(math.exp(-0.5))


@given(st.floats(0.05, 1))
def test_scale_one_gives_the_conditional_prediction_to_the_bit_without_a_second_pass(sigma):
    toy, x = Toy(), torch.zeros(1, 3, 4, 6, 7)
    assert torch.equal(
        Guidance(peak=1.0, base=1.0, window=ConstantWindow()).velocity(toy, x, sigma, 1.0), toy.with_sound
    )
    assert toy.asked == [True]


def test_late_steps_need_one_pass_unless_attenuation_is_wanted():
    x, mouth = torch.zeros(1, 3, 4, 6, 7), mouth_map((6, 7), torch.tensor([[3.0, 3.0]]), 1.0)
    for least, passes in ((1.0, [True]), (0.0, [True, False])):
        toy = Toy()
        Guidance(min_scale=least).velocity(toy, x, 0.3, mouth)
        assert toy.asked == passes


def test_no_sound_on_both_sides_makes_the_scale_irrelevant():
    toy = Toy()
    toy.with_sound = toy.without
    for peak in (2.0, 9.0):
        out = Guidance(peak=peak).velocity(toy, torch.zeros(1, 3, 4, 6, 7), 0.9, torch.rand(3, 1, 6, 7))
        assert torch.equal(out, toy.without)


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_outside_its_band_there_is_no_guidance(least):
    """The steps 20 to 40 of 50 at shift 5 are those of σ in [0.556, 0.882]."""
    guidance = Guidance(window=BandWindow(0.555, 0.883), min_scale=least)
    shares = [5 * s / (1 + 4 * s) for s in (1 - j / 50 for j in range(50))]
    guided = [j for j, sigma in enumerate(shares) if float(guidance.scales(1.0, sigma)) != 1]
    assert guided == list(range(20, 41))
    assert float(guidance.scales(1.0, 0.7)) == 4.5


def test_windows_are_spelt_in_words():
    assert parse_window("const") == ConstantWindow()
    assert parse_window("power:1.5") == PowerWindow(1.5)
    assert parse_window("band:0.555-0.882") == BandWindow(0.555, 0.882)
    for wrong in ("", "power", "power:x", "band:0.9-0.5", "band:0.5-1.5", "flat"):
        with pytest.raises(ValueError, match="band:A-B"):
            parse_window(wrong)


def test_frames_become_latents_as_the_autoencoder_groups_them():
    values = torch.arange(9.0)[:, None]
    assert by_latent(values, 4, first=True)[:, 0].tolist() == [0.0, 2.5, 6.5]
    assert by_latent(values[1:], 4, first=False)[:, 0].tolist() == [2.5, 6.5]
    assert torch.equal(by_latent(values, 1, first=True), values)


def test_one_wrong_reading_moves_no_centre():
    centres = torch.full((9, 2), 3.0)
    centres[4] = 40.0
    assert torch.equal(smooth_centres(centres), torch.full((9, 2), 3.0))
    assert len(smooth_centres(centres[:1])) == 1
