"""The report of a dub, put together from the plan, the clock and the statistics."""

from __future__ import annotations

from dataclasses import replace

from lipsync_cli import __version__
from lipsync_cli.core.types import MediaInfo
from lipsync_cli.dubbing.latency import latency_entries
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.plan import DubPlan
from lipsync_cli.dubbing.profiling import StageClock, peak_rss_mb
from lipsync_cli.dubbing.report import AdapterEntry, DubReport, FileEntry, ModelEntry
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import FrameSource


def make_report(
    plan: DubPlan,
    model: LoadedModel,
    clock: StageClock,
    statistics: FrameStatistics,
    source: FrameSource,
    sink: FrameSink,
) -> DubReport:
    """Everything ``lipsync dub --report`` tells. Frames are counted where they come in and where they go out."""
    settings, spec, card, wall = plan.settings, model.generator.spec, model.card, clock.elapsed
    return DubReport(
        tool=f"lipsync {__version__}",
        preset=plan.request.preset,
        model=ModelEntry(card.name, card.version, card.sha256),
        video=file_entry(plan.video),
        audio=file_entry(plan.audio),
        output=_output_entry(plan, statistics, sink),
        frames_in=source.delivered,
        frames_out=sink.frames_written,
        frames_dubbed=statistics.dubbed,
        wall_s=wall,
        realtime_factor=statistics.end / wall if wall > 0 else None,
        first_frame_s=clock.marked("first frame"),
        device=model.device,
        dtype=spec.details.get("dtype", settings.dtype),
        seed=settings.seed,
        threads=spec.details.get("threads", settings.threads),
        adapter=AdapterEntry(**adapter) if (adapter := spec.details.get("adapter")) else None,
        options=plan.picture.options,
        passed_through=statistics.passed_through(),
        spans=tuple(statistics.spans),
        tracks=statistics.tracks(),
        stages=clock.entries(statistics.end),
        latency=latency_entries(settings, spec, plan.stream.rate),
        peak_rss_mb=peak_rss_mb(),
        settings=settings.model_dump(mode="json"),
        provenance=plan.request.provenance,
        warnings=(
            *source.warnings,
            *sink.warnings,
            *_length_notes(plan),
            *_frame_notes(statistics, source.delivered, sink),
        ),
    )


def file_entry(info: MediaInfo) -> FileEntry:
    """A file as ``probe`` found it."""
    video, sound = info.video, info.audio[0] if info.audio else None
    return FileEntry(
        path=str(info.path),
        container=info.container,
        duration_s=None if info.duration is None else float(info.duration),
        codec=video.codec if video else None,
        width=video.width if video else None,
        height=video.height if video else None,
        rate=str(video.rate) if video else None,
        frames=video.frames if video else None,
        audio_codec=sound.codec if sound else None,
        sample_rate=sound.sample_rate if sound else None,
        channels=sound.channels if sound else None,
    )


def _output_entry(plan: DubPlan, statistics: FrameStatistics, sink: FrameSink) -> FileEntry:
    """The output, read again to see what it became; nothing can be read of what went to stdout."""
    target = plan.request.output
    if target is None:
        return FileEntry(path="-", duration_s=statistics.end, frames=sink.frames_written)
    return replace(file_entry(probe(target)), frames=sink.frames_written, bytes=target.stat().st_size)


def _length_notes(plan: DubPlan) -> tuple[str, ...]:
    """What was done about unequal lengths, in sentences."""
    length, notes = plan.length, []
    if length.extend_picture:
        notes.append(
            f"The dub is longer than the picture, which was extended to {float(length.duration):.2f} s by bouncing."
        )
    if length.cut_picture:
        notes.append(f"The picture was cut to {float(length.duration):.2f} s.")
    if length.cut_audio:
        notes.append(f"{float(length.cut_audio):.2f} s were cut from the end of the dub.")
    elif length.pad_audio > 1 / plan.stream.rate:
        notes.append(f"The dub ends {float(length.pad_audio):.2f} s before the picture, which goes on in silence.")
    return tuple(notes)


def _frame_notes(statistics: FrameStatistics, delivered: int, sink: FrameSink) -> tuple[str, ...]:
    """What is odd about the frames, in sentences."""
    notes = []
    if delivered != sink.frames_written and not sink.reader_left:
        notes.append(
            f"{delivered} frames were read and {sink.frames_written} written; "
            "please report this with the output of lipsync doctor."
        )
    if statistics.unchanged and not statistics.dubbed:
        notes.append(f"No frame was changed: {statistics.unchanged} show a face to dub, and it was left as it was.")
    if statistics.spans_dropped:
        notes.append(f"Only the first {len(statistics.spans)} spans are listed.")
    return tuple(notes)
