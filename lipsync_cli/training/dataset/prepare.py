"""Any folder of talking clips → aligned, tracked, sync-checked, de-duplicated clips for training.

Two steps. Segmenting goes over the sources one by one, in processes, and writes every stretch that ``dub`` could work
on together with its figures (``work.jsonl``); it resumes where it stopped. Filtering then compares all figures at
once and writes ``index.jsonl`` (see ``format``), ``summary.json`` and ``report.png``; it takes a moment, so other
limits or another size cost nothing. Clips that were not chosen are kept in ``spare/``.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import UsageError
from lipsync_cli.training.dataset.filtering import ClipSelection, select_clips
from lipsync_cli.training.dataset.format import LATENT_RATE, ClipRecord, write_index
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.dataset.report import save_report
from lipsync_cli.training.dataset.segmenting import SegmentedSource, Stretch, segment_source
from lipsync_cli.training.dataset.sources import Source, find_sources

FORMAT = 2
OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """``crop_size`` in pixels, a multiple of 16; ``workers`` processes; ``max_megabytes`` of chosen clips at most."""

    crop_size: int = 192
    seconds_per_speaker: float = 100.0
    max_megabytes: float | None = None
    workers: int = 2
    limits: Limits = field(default_factory=Limits)


def prepare(
    data: Path, out: Path, options: PrepareOptions, on_progress: OnProgress = lambda done, total: None
) -> dict[str, Any]:
    """Prepare the clips of ``data`` in ``out`` and return what ``summary.json`` holds.

    ``on_progress`` gets frames done and, about, in total. Raises InputError when there are no clips, UsageError when
    ``out`` was begun with another crop size.
    """
    sources = find_sources(data, seconds_per_speaker=options.seconds_per_speaker)
    for folder in ("clips", "spare"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _check_settings(out, options)
    results = segment_all(data, out, sources, options, on_progress)
    pairs = [(source, results[source.path]) for source in sources]
    max_bytes = None if options.max_megabytes is None else int(options.max_megabytes * 1e6)
    selection = select_clips(
        pairs,
        options.limits,
        crop_size=options.crop_size,
        seconds_per_speaker=options.seconds_per_speaker,
        max_bytes=max_bytes,
    )
    _move_clips(out, {record.name for record in selection.chosen})
    write_index(out, selection.chosen)
    summary = summarise(selection, [result for _, result in pairs])
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    save_report(out, selection.chosen, selection.rejected)
    return summary


def _check_settings(out: Path, options: PrepareOptions) -> None:
    path, settings = out / "settings.json", {"format": FORMAT, "crop_size": options.crop_size}
    if not path.exists():
        path.write_text(json.dumps(settings) + "\n")
    elif (found := json.loads(path.read_text())) != settings:
        raise UsageError(
            f"{out} was begun with crops of {found.get('crop_size')} px (format {found.get('format')}), "
            f"not {options.crop_size} px (format {FORMAT}).",
            hint="Prepare into another folder, or use the same --crop-size.",
        )


def segment_all(
    data: Path, out: Path, sources: list[Source], options: PrepareOptions, on_progress: OnProgress
) -> dict[str, SegmentedSource]:
    """Every source with its stretches, by path; those already in ``work.jsonl`` are not read again."""
    log = out / "work.jsonl"
    results = {result.path: result for result in read_work(log)} if log.exists() else {}
    waiting = [source for source in sources if source.path not in results]
    # In random order, so that an unfinished run is a fair sample of every folder.
    random.Random(0).shuffle(waiting)
    total = round(sum(source.seconds for source in waiting) * LATENT_RATE)
    done = 0
    with log.open("a") as handle:
        if log.stat().st_size and not log.read_bytes().endswith(b"\n"):
            handle.write("\n")  # the last line was interrupted
        for result in _segment_in_processes(data, out, waiting, options):
            handle.write(json.dumps(asdict(result)) + "\n")
            handle.flush()
            results[result.path] = result
            done += result.frames
            on_progress(done, max(total, done))
    return results


def _segment_in_processes(
    data: Path, out: Path, sources: list[Source], options: PrepareOptions
) -> Iterator[SegmentedSource]:
    # Faces are identified only where the speaker is not given.
    jobs = [(source, source.speaker is None) for source in sources]
    if options.workers == 1 or len(jobs) < 2:
        for source, identify in jobs:
            yield segment_source(data, out, source, crop_size=options.crop_size, identify=identify)
        return
    # Networks and OpenCV have threads of their own, which a forked process would inherit stopped.
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(segment_source, data, out, source, crop_size=options.crop_size, identify=identify)
            for source, identify in jobs
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def read_work(log: Path) -> Iterator[SegmentedSource]:
    """The finished sources of a work log; a last line that was interrupted is left out."""
    for line in log.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        yield SegmentedSource(**(row | {"stretches": [Stretch(**stretch) for stretch in row["stretches"]]}))


def _move_clips(out: Path, chosen: set[str]) -> None:
    """Chosen clips into ``clips``, all others into ``spare``."""
    for here, there, wanted in (("clips", "spare", False), ("spare", "clips", True)):
        for path in list((out / here).iterdir()):
            if (path.name.split(".")[0] in chosen) is wanted:
                path.replace(out / there / path.name)


def summarise(selection: ClipSelection, results: list[SegmentedSource]) -> dict[str, Any]:
    """Counts for people and programs: what was chosen by split and folder, what was not and why."""
    unusable: Counter[str] = Counter()
    for result in results:
        unusable.update(result.unusable)
        unusable["too short a run"] += result.too_short
    return {
        "sources": len(results),
        "frames_seen": sum(result.frames for result in results),
        "chosen": _share(selection.chosen),
        "splits": _grouped(selection.chosen, lambda record: record.split),
        "folders": _grouped(selection.chosen, lambda record: Path(record.path).parent.as_posix()),
        "lags": dict(Counter(f"{r.lag_frames:+d} ({r.lag_from})" for r in selection.chosen).most_common()),
        "clips_left_out": dict(selection.rejected.most_common()),
        "frames_left_out": dict(selection.frames_rejected.most_common()),
        "frames_without_usable_face": dict(+unusable),
        "sources_without_clips": {
            result.path: result.note or "no stretch with a usable face" for result in results if not result.stretches
        },
    }


def _share(records: list[ClipRecord]) -> dict[str, Any]:
    return {
        "clips": len(records),
        "minutes": round(sum(record.frames for record in records) / LATENT_RATE / 60, 2),
        "speakers": len({record.speaker for record in records}),
        "megabytes": round(sum(record.bytes for record in records) / 1e6, 2),
    }


def _grouped(records: list[ClipRecord], key: Callable[[ClipRecord], str]) -> dict[str, Any]:
    names = sorted({key(record) for record in records})
    return {name: _share([record for record in records if key(record) == name]) for name in names}
