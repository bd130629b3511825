"""Pure rational time arithmetic: human times, exact rates and the length policy.

Everything is a ``Fraction`` of seconds. Floats appear only in texts for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from lipsync_cli.core.errors import UsageError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?|[.,]\d+)")


class LengthPolicy(StrEnum):
    """Whose length the result has when picture and dub differ."""

    LONGEST = "longest"
    VIDEO = "video"
    AUDIO = "audio"
    SHORTEST = "shortest"


@dataclass(frozen=True, slots=True)
class LengthPlan:
    """What happens to picture and dub so that both fill ``duration`` seconds.

    ``extend_picture``: the picture goes on, bouncing, until ``duration``. ``cut_picture``: frames at or after
    ``duration`` are dropped. ``pad_audio``: seconds of silence after the dub (the track may simply end).
    ``cut_audio``: seconds dropped from the dub's end.
    """

    duration: Fraction
    extend_picture: bool
    cut_picture: bool
    pad_audio: Fraction
    cut_audio: Fraction


def plan_length(policy: LengthPolicy | str, video: Fraction, audio: Fraction) -> LengthPlan:
    """The plan for a picture of ``video`` seconds (its last frame's duration included) and a dub of ``audio``."""
    if video < 0 or audio < 0:
        raise ValueError(f"durations cannot be negative, got {video} and {audio} seconds")
    duration = {
        LengthPolicy.LONGEST: max(video, audio),
        LengthPolicy.VIDEO: video,
        LengthPolicy.AUDIO: audio,
        LengthPolicy.SHORTEST: min(video, audio),
    }[LengthPolicy(policy)]
    return LengthPlan(
        duration=duration,
        extend_picture=duration > video,
        cut_picture=duration < video,
        pad_audio=max(duration - audio, Fraction(0)),
        cut_audio=max(audio - duration, Fraction(0)),
    )


def exact_rate(rate: Fraction | float | str) -> Fraction:
    """A frame rate in frames per second as the fraction it stands for: 29.97 → 30000/1001, 25.0 → 25.

    Rates within 50 parts per million of an NTSC rate (n·1000/1001) or of a whole number are taken to mean it;
    any other ``Fraction`` is returned as it is.
    """
    value = Fraction(rate) if not isinstance(rate, float) else Fraction(rate).limit_denominator(1_000_000)
    if value <= 0:
        raise ValueError(f"a frame rate must be positive, got {rate}")
    for exact in (Fraction(max(round(value), 1)), Fraction(max(round(value * 1001 / 1000), 1) * 1000, 1001)):
        if abs(value - exact) * 20_000 <= exact:
            return exact
    # 23.976 is often written with two digits, which is further off than a stream's own rounding.
    return Fraction(24000, 1001) if value == Fraction(2398, 100) else value


def parse_time(text: str) -> Fraction:
    """Seconds from "90", "1:30", "00:01:30.5" or "12.25s"; exact.

    Raises UsageError for anything else, negative times and minutes or seconds of 60 and more after a colon.
    """
    match = _CLOCK.fullmatch(text.strip().removesuffix("s"))
    if match is None:
        raise UsageError(
            f"{text!r} is not a time.", hint="Write seconds (90.5) or a clock time (1:30 or 00:01:30.5)."
        )
    hours, minutes, seconds = match.groups()
    parts = int(hours or 0), int(minutes or 0), Fraction(seconds.replace(",", ".").rstrip(".") or 0)
    if (minutes is not None and parts[2] >= 60) or (hours is not None and parts[1] >= 60):
        raise UsageError(f"{text!r} is not a time: after a colon, minutes and seconds stay below 60.")
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


def format_time(seconds: Fraction | float) -> str:
    """A clock time with milliseconds for people: 90.5 → "1:30.500"."""
    total = round(Fraction(seconds) * 1000)
    sign, total = ("-" if total < 0 else ""), abs(total)
    minutes, millis = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes}:{millis // 1000:02d}.{millis % 1000:03d}"
    return f"{sign}{hours}:{clock.zfill(9)}" if hours else sign + clock
