from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.timeline import (
    LengthPolicy,
    exact_rate,
    format_time,
    parse_time,
    plan_length,
)

seconds = st.fractions(min_value=0, max_value=10_000, max_denominator=100_000)


@given(seconds, seconds, st.sampled_from(list(LengthPolicy)))
def test_length_plan_fills_its_duration_exactly(video, audio, policy):
    plan = plan_length(policy, video, audio)
    assert audio + plan.pad_audio - plan.cut_audio == plan.duration
    assert not (plan.extend_picture and plan.cut_picture)
    assert plan.extend_picture == (plan.duration > video)
    assert plan.cut_picture == (plan.duration < video)
    assert min(video, audio) <= plan.duration <= max(video, audio)


def test_length_policies_take_their_sides():
    lengths = {policy: plan_length(policy, Fraction(3), Fraction(5)).duration for policy in LengthPolicy}
    assert lengths == {"longest": 5, "video": 3, "audio": 5, "shortest": 3}


@pytest.mark.parametrize(
    ("given_rate", "exact"),
    [
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (25.0, Fraction(25)),
        (Fraction(2997, 100), Fraction(30000, 1001)),
        (Fraction(27012, 901), Fraction(27012, 901)),
        (Fraction(1, 2), Fraction(1, 2)),
    ],
)
def test_exact_rate_is_the_fraction_that_is_meant(given_rate, exact):
    assert exact_rate(given_rate) == exact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90),
        ("1:30", 90),
        ("00:01:30.5", Fraction(181, 2)),
        ("12.25s", Fraction(49, 4)),
        (" 0,5 ", Fraction(1, 2)),
        ("75:00", 4500),
        (".5", Fraction(1, 2)),
        ("3.", 3),
    ],
)
def test_parse_time_reads_what_people_write(text, value):
    assert parse_time(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:60:00", "a", "1:2:3:4", "1e3", "nan"])
def test_parse_time_refuses_other_texts(text):
    with pytest.raises(UsageError):
        parse_time(text)


@given(st.integers(0, 10**8))
def test_format_time_can_be_parsed_back(millis):
    assert parse_time(format_time(Fraction(millis, 1000))) == Fraction(millis, 1000)
