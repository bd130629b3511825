"""The report of a dub, put together from the job, the clock and the tally."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipsync_cli import __version__
from lipsync_cli.core.types import MediaInfo
from lipsync_cli.dubbing.latency import latency_ledger
from lipsync_cli.dubbing.report import AdapterEntry, DubReport, FileEntry, ModelEntry, StageClock, peak_rss_mb
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.engines.protocol import LipSyncModel

if TYPE_CHECKING:
    from lipsync_cli.dubbing.plan import Job


def make_report(
    job: Job, generator: LipSyncModel[Any], clock: StageClock, tally: FrameStatistics, *, warnings: tuple[str, ...]
) -> DubReport:
    """Everything ``lipsync dub --report`` tells."""
    settings, wall = job.request.settings, clock.elapsed
    return DubReport(
        tool=f"lipsync {__version__}",
        preset=job.request.preset,
        model=ModelEntry(job.card.name, job.card.version, job.card.sha256),
        video=file_entry(job.video),
        audio=file_entry(job.audio),
        output=_output_entry(job, tally),
        frames_in=tally.frames,
        frames_out=tally.frames,
        frames_dubbed=tally.dubbed,
        wall_s=wall,
        realtime_factor=tally.end / wall if wall > 0 else None,
        first_frame_s=clock.marked("first frame"),
        device=job.device,
        dtype=generator.spec.details.get("dtype", settings.dtype),
        seed=settings.seed,
        threads=generator.spec.details.get("threads", settings.threads),
        adapter=AdapterEntry(**adapter) if (adapter := generator.spec.details.get("adapter")) else None,
        options=job.request.options.for_kind(job.card.kind)[0],
        passed_through=tally.passed_through(),
        spans=tuple(tally.spans),
        tracks=tally.tracks(),
        stages=clock.entries(tally.end),
        ledger=latency_ledger(settings, generator, job.stream.rate),
        peak_rss_mb=peak_rss_mb(),
        settings=settings.model_dump(mode="json"),
        provenance=job.request.provenance,
        warnings=warnings + _length_notes(job, tally),
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


def _output_entry(job: Job, tally: FrameStatistics) -> FileEntry:
    from lipsync_cli.media.probe import probe

    target = job.request.output
    if target is None:
        return FileEntry(path="-", duration_s=tally.end, frames=tally.frames)
    entry = file_entry(probe(target))
    return FileEntry(
        path=entry.path,
        container=entry.container,
        duration_s=entry.duration_s,
        codec=entry.codec,
        width=entry.width,
        height=entry.height,
        rate=entry.rate,
        frames=tally.frames,
        audio_codec=entry.audio_codec,
        sample_rate=entry.sample_rate,
        channels=entry.channels,
        bytes=target.stat().st_size,
    )


def _length_notes(job: Job, tally: FrameStatistics) -> tuple[str, ...]:
    """What was done about unequal lengths, in sentences."""
    plan, said = job.length, []
    if plan.extend_picture:
        said.append(
            f"The dub is longer than the picture, which was extended to {float(plan.duration):.2f} s by bouncing."
        )
    if plan.cut_picture:
        said.append(f"The picture was cut to {float(plan.duration):.2f} s.")
    if plan.cut_audio:
        said.append(f"{float(plan.cut_audio):.2f} s were cut from the end of the dub.")
    elif plan.pad_audio > 1 / job.stream.rate:
        said.append(f"The dub ends {float(plan.pad_audio):.2f} s before the picture, which goes on in silence.")
    if tally.spans_dropped:
        said.append(f"Only the first {len(tally.spans)} spans are listed.")
    return tuple(said)
