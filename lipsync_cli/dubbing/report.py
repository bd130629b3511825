"""What a dub did: counts, spans, times and fingerprints, as one JSON document and as lines for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lipsync_cli.dubbing.profiling import StageEntry

SCHEMA = 1
_JSON_KEYS = {"latency": "ledger"}
"""Fields that go by another name in the JSON document."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file that was read or written. ``rate`` is exact, as text: ``30000/1001``."""

    path: str
    container: str | None = None
    duration_s: float | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    rate: str | None = None
    frames: int | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SpanEntry:
    """A stretch of video treated alike: ``reason`` is ``dubbed`` or why the frames passed through."""

    start_s: float
    end_s: float
    reason: str
    track: int | None = None


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """One face followed through one shot."""

    track: int
    shot: int
    start_s: float
    end_s: float
    frames: int
    dubbed: int
    width_px: float
    references: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyEntry:
    """What a stage must wait for before it can give its first frame."""

    stage: str
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Fingerprint of the model that was used."""

    name: str
    version: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """The adapter that was used, and the name of the video it was made from."""

    file: str
    sha256: str
    source: str
    frames: int
    steps: int


@dataclass(frozen=True, slots=True)
class DubReport:
    """The result of one dub. Seconds are floats here and nowhere else.

    ``frames_in`` were delivered by the source, ``frames_out`` written by the sink; ``frames_dubbed`` are those in
    which a mouth was changed, and ``passed_through`` counts the others by reason.
    """

    tool: str
    preset: str
    model: ModelEntry
    video: FileEntry
    audio: FileEntry
    output: FileEntry
    frames_in: int
    frames_out: int
    frames_dubbed: int
    wall_s: float
    realtime_factor: float | None
    first_frame_s: float | None
    device: str
    dtype: str
    seed: int
    threads: int
    adapter: AdapterEntry | None = None
    passed_through: dict[str, int] = field(default_factory=dict)
    spans: tuple[SpanEntry, ...] = ()
    tracks: tuple[TrackEntry, ...] = ()
    stages: tuple[StageEntry, ...] = ()
    latency: tuple[LatencyEntry, ...] = ()
    peak_rss_mb: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The report as plain dictionaries and lists, ``schema`` first."""
        values = {_JSON_KEYS.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        return {"schema": values.pop("schema"), **{name: _plain(value) for name, value in values.items()}}

    def summary(self) -> list[str]:
        """A few lines that say what happened."""
        seconds = self.output.duration_s
        length = f", {seconds:.2f} s" if seconds is not None else ""
        lines = [f"{self.output.path}: {self.frames_dubbed} of {self.frames_out} frames dubbed{length}"]
        if self.passed_through:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.passed_through.items()))
            lines.append(f"Passed through untouched: {reasons}")
        speed = f" ({self.realtime_factor:.2f}× realtime)" if self.realtime_factor else ""
        first = f", first frame after {self.first_frame_s:.2f} s" if self.first_frame_s is not None else ""
        model = self.model.name + (f", adapted by {self.adapter.file}" if self.adapter else "")
        lines.append(f"Took {self.wall_s:.1f} s{speed}{first} on {self.device} with {model}")
        return lines + [f"Note: {warning}" for warning in self.warnings]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def format_stage_table(report: DubReport) -> list[tuple[str, str, str, str]]:
    """Rows of stage, seconds, share of the busy time, and speed against realtime where frames were counted."""
    busy = sum(entry.seconds for entry in report.stages) or 1.0
    return [
        (entry.stage, f"{entry.seconds:.2f} s", f"{100 * entry.seconds / busy:.0f} %", _factor(entry))
        for entry in report.stages
    ]


def _factor(entry: StageEntry) -> str:
    if not entry.frames or entry.realtime_factor is None:
        return "–"
    return f"{entry.realtime_factor:.1f}×" if entry.realtime_factor < 1000 else ">999×"
