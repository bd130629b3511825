"""Protocols over a manifest: dub every clip the way ``lipsync dub`` does, score it, keep the result.

``self`` gives a clip its own sound, ``cross`` that of another one. Three controls dub nothing and say what the
figures are worth: ``original`` scores the clips as they are, ``shifted`` with the sound five frames late, ``foreign``
with another clip's sound.

A dub takes its references from the first frames of every segment. Those frames are not scored, so what is scored was
never among the references. Frames that passed through are not scored either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

from lipsync_cli import __version__, hub
from lipsync_cli.core.errors import InputError, NoFaceError, OutputError
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.plan import plan as plan_dub
from lipsync_cli.dubbing.report import SpanEntry
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.dubbing.segments import DUBBED, UNCHANGED
from lipsync_cli.engines.mini.adapter import read_adapter
from lipsync_cli.evaluation.clip import (
    ClipScore,
    Comparison,
    Measured,
    measure_clip,
    score_clip,
    score_measured,
)
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.networks import MetricNetworks
from lipsync_cli.evaluation.suite.features import FeatureMeter
from lipsync_cli.evaluation.suite.manifest import Clip, donors
from lipsync_cli.evaluation.suite.plain import plain
from lipsync_cli.evaluation.suite.strip import Strip
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.settings import DubSettings

Protocol = Literal["self", "cross", "original", "shifted", "foreign"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
CONTROLS: tuple[Protocol, ...] = ("original", "shifted", "foreign")
SHIFT_FRAMES = 5
SHIFT_RATE = 25
# Changes of the scoring code that make older results incomparable raise this.
SCORING = 1


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """What to run and where results go. ``seconds`` uses only so much of each clip."""

    clips: list[Clip]
    protocols: tuple[Protocol, ...]
    folder: Path
    settings: DubSettings
    preset: str = ""
    seconds: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One clip under one protocol."""

    protocol: Protocol
    clip: Clip
    sound: Path


@dataclass(frozen=True, slots=True)
class ItemResult:
    """``score`` is None when the clip failed, and ``error`` says why; ``dub`` is the report of the dub, if any."""

    protocol: str
    name: str
    speaker: str
    video: str
    sound: str
    score: dict[str, Any] | None
    error: str = ""
    dub: dict[str, Any] = field(default_factory=dict)
    strip: str = ""


def items(plan: SuitePlan) -> list[Item]:
    """All items of a plan: dubs protocol by protocol, then controls clip by clip."""
    foreign = donors(plan.clips) if {"cross", "foreign"} & set(plan.protocols) else plan.clips
    pairs = list(zip(plan.clips, foreign, strict=True))

    def item(protocol: Protocol, clip: Clip, other: Clip) -> Item:
        return Item(protocol, clip, other.video if protocol in ("cross", "foreign") else clip.video)

    dubs = [protocol for protocol in plan.protocols if protocol not in CONTROLS]
    controls = [protocol for protocol in plan.protocols if protocol in CONTROLS]
    # Controls look at the same pictures, which then need to be read only once.
    return [item(p, *pair) for p in dubs for pair in pairs] + [item(p, *pair) for pair in pairs for p in controls]


class _LastRead:
    """The clip that a control measured last, for the next control of the same clip; holds one."""

    def __init__(self) -> None:
        self._video: Path | None = None
        self._measured: Measured | None = None

    def measure(self, video: Path, judges: MetricNetworks, what: Comparison) -> Measured:
        """Measure ``video`` unless it was the last one."""
        if self._measured is None or video != self._video:
            self._measured, self._video = measure_clip(video, judges, what), video
        return self._measured


def run(
    plan: SuitePlan, judges: MetricNetworks, *, on_item: Callable[[Item, bool], None] = lambda item, cached: None
) -> Iterator[ItemResult]:
    """Results one by one, those already in the folder as they are. A clip that fails is a result with an error."""
    last = _LastRead()
    for item in items(plan):
        path = plan.folder / item.protocol / f"{item.clip.name}.json"
        key = _key(item, plan, judges)
        known = _known(path, key)
        on_item(item, known is not None)
        if known is not None:
            yield known
            continue
        result = _attempt(item, plan, judges, path, last)
        _write_json(path, {"key": key, **asdict(result)})
        yield result


def _key(item: Item, plan: SuitePlan, judges: MetricNetworks) -> str:
    """Changes whenever the scores would."""
    present = [network is not None for network in (judges.syncnet, judges.lpips, judges.inception, judges.i3d)]
    networks: list[Any] = [hub.load_card("sync-mini").sha256, present]
    if judges.stable_sync_file is not None:  # anybody may train one
        networks.append(_stamp(judges.stable_sync_file))
    return _digest([SCORING, *networks, _dub_key(item, plan)])


def _stamp(path: Path) -> tuple[str, int, int]:
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def _dub_key(item: Item, plan: SuitePlan) -> str:
    """Changes whenever the dub would."""
    parts: list[Any] = [item.protocol, str(plan.seconds)]
    parts += [_stamp(path) for path in (item.clip.video, item.sound)]
    if item.protocol not in CONTROLS:
        model = hub.load_card(plan.settings.model)
        parts += [__version__, model.sha256, plan.settings.model_dump(mode="json")]
        if plan.settings.adapter is not None:
            parts.append(read_adapter(Path(plan.settings.adapter), model).sha256)
    return _digest(parts)


def _digest(parts: list[Any]) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _known(path: Path, key: str) -> ItemResult | None:
    kept = _read_json(path)
    return ItemResult(**kept) if kept.pop("key", "") == key else None


def _read_json(path: Path) -> dict[str, Any]:
    """An object that was written earlier; empty when there is none or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _write_json(path: Path, told: dict[str, Any]) -> None:
    """Write all of it or nothing; raises OutputError where that is not possible."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _attempt(item: Item, plan: SuitePlan, judges: MetricNetworks, path: Path, last: _LastRead) -> ItemResult:
    told = (item.protocol, item.clip.name, item.clip.speaker, str(item.clip.video), str(item.sound))
    try:
        if item.protocol in CONTROLS:
            return ItemResult(*told, score=plain(_control(item, plan, judges, last)))
        score, strip, dub = _dubbed(item, plan, judges, path.with_suffix(".mp4"))
    except (InputError, NoFaceError) as error:
        return ItemResult(*told, score=None, error=str(error))
    path.parent.mkdir(parents=True, exist_ok=True)
    return ItemResult(*told, score=plain(score), dub=dub, strip=strip.save(path.with_suffix(".jpg")))


def _control(item: Item, plan: SuitePlan, judges: MetricNetworks, last: _LastRead) -> ClipScore:
    frames = _frame_limit(item.clip.video, plan.seconds)
    foreign = item.protocol == "foreign"
    comparison = Comparison(
        sound=item.sound if foreign else None,
        delay=Fraction(SHIFT_FRAMES, SHIFT_RATE) if item.protocol == "shifted" else Fraction(0),
        original=item.clip.video if foreign else None,
        face=plan.settings.face,
        scored=lambda index: frames is None or index < frames,
    )
    measured = last.measure(item.clip.video, judges, comparison)
    return score_measured(item.clip.video, judges, comparison, measured)


def _dubbed(
    item: Item, plan: SuitePlan, judges: MetricNetworks, output: Path
) -> tuple[ClipScore, Strip, dict[str, Any]]:
    told, strip, features = _dub(item, plan, output), Strip(), FeatureMeter(judges)

    def observe(made: MeasuredFrame, before: MeasuredFrame | None) -> None:
        strip.add(made, before)
        features.add(made, before)

    settings, rate = plan.settings, require_video(probe(output)).rate
    own = item.protocol == "self"
    comparison = Comparison(
        truth=item.clip.video if own else None,
        source=item.clip.video,
        original=None if own else item.clip.video,
        face=settings.face,
        trim=plan.seconds is not None,
        scored=scored_frames([SpanEntry(**span) for span in told["spans"]], rate, settings.reference_frames),
        observe=observe,
    )
    score = score_clip(output, judges, comparison)
    features.save(output.with_suffix(".npz"))
    return score, strip, {key: told[key] for key in _SHOWN_OF_REPORT}


_SHOWN_OF_REPORT = (
    "model", "preset", "seed", "frames_out", "frames_dubbed", "passed_through", "wall_s", "realtime_factor",
)  # fmt: skip


def _dub(item: Item, plan: SuitePlan, output: Path) -> dict[str, Any]:
    """Dub one item unless that was done before, so that scoring anew is cheap; the report as JSON."""
    settings = plan.settings.model_copy(update={"length": "video"})
    beside, key = output.with_suffix(".dub.json"), _dub_key(item, plan)
    known = _read_json(beside)
    if known.get("key") == key and output.is_file():
        report: dict[str, Any] = known["report"]
        return report
    output.parent.mkdir(parents=True, exist_ok=True)
    request = DubRequest(
        item.clip.video, item.sound, output, settings, preset=plan.preset, overwrite=True, end=plan.seconds
    )
    report = pipeline.dub(plan_dub(request)).to_json()
    _write_json(beside, {"key": key, "report": report})
    return report


def scored_frames(spans: Sequence[SpanEntry], rate: Fraction, references: int) -> Callable[[int], bool]:
    """Whether a frame counts: given to the model, later than the ``references`` frames it learned the face from."""
    parts = [
        range(round(first.start_s * rate) + references, round(last.end_s * rate)) for first, last in _segments(spans)
    ]
    return lambda index: any(index in part for part in parts)


def _segments(spans: Sequence[SpanEntry]) -> Iterator[tuple[SpanEntry, SpanEntry]]:
    """The first and the last span of each run that the model was given, whether or not it changed all of it."""
    for (given, _), group in groupby(spans, lambda span: (span.reason in (DUBBED, UNCHANGED), span.track)):
        run = list(group)
        if given:
            yield run[0], run[-1]


def _frame_limit(video: Path, seconds: Fraction | None) -> int | None:
    return None if seconds is None else -int(-seconds * require_video(probe(video)).rate // 1)
