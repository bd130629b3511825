"""``lipsync eval``: score a clip, run a protocol over many, or compare two results."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table, stderr
from lipsync_cli.cli.eval import options as e
from lipsync_cli.cli.paths import check_folder, check_input, make_folder, write_text
from lipsync_cli.cli.progress import progress
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.settings import DubSettings, resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.evaluation.clip import ClipScore
    from lipsync_cli.evaluation.networks import MetricNetworks
    from lipsync_cli.evaluation.suite.protocols import Item, ItemResult, SuitePlan
    from lipsync_cli.evaluation.suite.results import Compared

SCHEMA = 1
app = typer.Typer(add_completion=False)


@app.command("eval")
def evaluate(
    clip: e.Clip = None,
    against: e.Against = None,
    source: e.Source = None,
    original: e.Original = None,
    audio: e.Sound = None,
    trim: e.Trim = False,
    manifest: e.Manifest = None,
    protocol: e.Protocols = None,
    where: e.Where = None,
    limit: e.Limit = None,
    seconds: e.Seconds = None,
    out: e.Folder = Path("out/eval"),
    compare: e.Compare = None,
    syncnet: e.SyncNet = None,
    stable_sync: e.StableSync = None,
    weights: e.Weights = None,
    preset: o.PresetName = None,
    model: o.Model = None,
    face: o.FaceChoice = None,
    seed: o.Seed = None,
    device: o.Device = None,
    threads: o.Threads = None,
    sets: o.Sets = None,
    options: o.EngineOption = None,
    html: e.Html = None,
    markdown: e.Markdown = None,
    as_json: o.Json = False,
    show_progress: o.ProgressChoice = None,
    quiet: o.Quiet = False,
) -> None:
    """Score a clip: sync, lips, picture, identity.

    CLIP alone is scored without a reference; --against adds what needs the truth. --manifest dubs and scores many
    clips; --compare says which of two such results is better.
    """
    given = locals()
    _check_mode(given)
    for path in filter(None, (html, markdown)):
        check_folder(path)
    if compare is not None:
        _compare(compare, as_json=as_json, markdown=markdown)
    elif manifest is not None:
        _run_protocols(given)
    else:
        _score_one(given)


def _check_mode(given: dict[str, Any]) -> None:
    modes = {"CLIP": given["clip"], "--manifest": given["manifest"], "--compare": given["compare"]}
    chosen = [name for name, value in modes.items() if value is not None]
    if len(chosen) != 1:
        said = " and ".join(chosen) if chosen else "nothing"
        raise UsageError(f"There is {said} to score.", hint="Give a CLIP, or --manifest, or --compare A.json B.json.")
    of_clips = {"against", "source", "original", "audio", "trim"}
    of_protocols = {"protocol", "where", "limit", "seconds"}
    foreign = of_protocols if given["clip"] is not None else of_clips
    foreign = foreign if given["compare"] is None else of_clips | of_protocols
    wrong = [f"--{name}" for name in sorted(foreign) if given[name]]
    if given["html"] is not None and given["manifest"] is None:
        wrong.append("--html")
    if wrong:
        raise UsageError(f"{wrong[0]} does not go with {chosen[0]}.", hint="See lipsync eval --help.")


def _judges(given: dict[str, Any]) -> MetricNetworks:
    if given["syncnet"] is not None:
        check_input(given["syncnet"], "syncnet_v2.model")
    if given["stable_sync"] is not None:
        check_input(given["stable_sync"], "stable_syncnet.pt")
    if given["weights"] is not None and not given["weights"].is_dir():
        raise InputError(f"There is no folder {given['weights']}.", hint="Expected the folder of --weights.")
    if given["threads"]:
        import torch

        torch.set_num_threads(given["threads"])
    from lipsync_cli.evaluation.networks import load_judges

    return load_judges(syncnet=given["syncnet"], stable_sync=given["stable_sync"], weights=given["weights"])


def _score_one(given: dict[str, Any]) -> None:
    for name in ("clip", "against", "source", "original", "audio"):
        if given[name] is not None:
            check_input(given[name], "a video" if name not in ("original", "audio") else "a file with sound")
    judges = _judges(given)
    from lipsync_cli.evaluation.clip import Comparison, score_clip

    comparison = Comparison(
        truth=given["against"],
        source=given["source"] or given["against"],
        sound=given["audio"],
        original=given["original"],
        face=given["face"] or "largest",
        trim=given["trim"],
    )
    with progress(_shown(given), None, doing="Scoring") as on_frame:
        score = score_clip(given["clip"], judges, comparison, on_frame)
    _tell(score, as_json=given["as_json"], markdown=given["markdown"])


def _tell(score: ClipScore, *, as_json: bool, markdown: Path | None) -> None:
    from lipsync_cli.evaluation.metrics import METRICS, format_value
    from lipsync_cli.evaluation.suite.plain import plain

    rows = [
        (metric.title, format_value(name, score.metrics[name]), metric.meaning)
        if score.metrics[name] is not None
        else (metric.title, "–", f"not measured: {score.not_measured[name]}")
        for name, metric in METRICS.items()
    ]
    if markdown is not None:
        lines = ["| metric | value | |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
        write_text(markdown, "\n".join(lines) + "\n")
    if as_json:
        emit_json({"schema": SCHEMA, **plain(score)})
    else:
        emit_table(("metric", "value", "meaning"), rows)


def _run_protocols(given: dict[str, Any]) -> None:
    plan = _plan(given)
    judges = _judges(given)
    from lipsync_cli.evaluation.suite.features import distances
    from lipsync_cli.evaluation.suite.html import write_html
    from lipsync_cli.evaluation.suite.protocols import items, run
    from lipsync_cli.evaluation.suite.results import document, markdown, summarise

    total, count = len(items(plan)), 0
    results: list[ItemResult] = []

    def on_item(item: Item, cached: bool) -> None:
        nonlocal count
        count += 1
        if _shown(given) is not False:
            kept = " (kept)" if cached else ""
            stderr().print(f"{count} of {total}: {item.protocol} {item.clip.name}{kept}", highlight=False)

    for result in run(plan, judges, on_item=on_item):
        results.append(result)
        if result.error:
            stderr().print(f"{result.name} was left out: {result.error}", highlight=False, markup=False)
    if not any(result.score for result in results):
        raise InputError(f"None of the {len(results)} clips could be scored.", hint=results[0].error)
    extra = distances(((result.protocol, result.name) for result in results if result.score), plan.folder)
    told = document(results, _settings_told(plan), extra)
    rows = summarise(results, extra)
    write_text(plan.folder / "result.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    if given["html"] is not None:
        write_html(given["html"], f"lipsync eval: {plan.settings.model}", rows, results, plan.folder)
    if given["markdown"] is not None:
        write_text(given["markdown"], markdown(rows))
    if given["as_json"]:
        emit_json(told)
    else:
        emit_lines(markdown(rows).splitlines())


def _plan(given: dict[str, Any]) -> SuitePlan:
    protocols = given["protocol"] or ["self", "cross"]
    unknown = [name for name in protocols if name not in e.PROTOCOLS]
    if unknown:
        raise UsageError(f"There is no protocol {unknown[0]!r}.", hint=f"Choose among {', '.join(e.PROTOCOLS)}.")
    for pair in given["where"] or []:
        if "=" not in pair:
            raise UsageError(f"--where {pair} has no value.", hint="Write --where COLUMN=VALUE.")
    if not given["manifest"].exists():
        raise InputError(f"There is no manifest {given['manifest']}.", hint="Expected a CSV, JSONL or a folder.")
    overrides = {name: given[name] for name in DubSettings.model_fields if name in given}
    resolved = resolve_settings(
        given["preset"],
        overrides,
        sets=o.parse_sets(given["sets"]),
        options=o.parse_options(given["options"]),
    )
    seconds = o.parse_time(given["seconds"])
    if seconds is not None and seconds <= 0:
        raise UsageError("--seconds must be more than 0.")
    from lipsync_cli.evaluation.suite.manifest import read_manifest
    from lipsync_cli.evaluation.suite.protocols import SuitePlan

    where = dict(pair.split("=", 1) for pair in given["where"] or [])
    clips = read_manifest(given["manifest"], where=where, limit=given["limit"])
    make_folder(given["out"])
    return SuitePlan(
        clips,
        tuple(dict.fromkeys(protocols)),
        given["out"],
        resolved.settings,
        resolved.preset,
        seconds,
        resolved.options,
    )


def _settings_told(plan: SuitePlan) -> dict[str, Any]:
    seconds = None if plan.seconds is None else float(plan.seconds)
    return {"preset": plan.preset, "seconds": seconds, **plan.settings.model_dump(mode="json")}


def _compare(paths: tuple[Path, Path], *, as_json: bool, markdown: Path | None) -> None:
    from lipsync_cli.evaluation.suite.results import compare, read_document

    a, b = (read_document(path) for path in paths)
    found = compare(a, b)
    rows = [_compared_row(item) for item in found]
    head = ("protocol", "metric", "n", "A", "B", "B − A", "95 % interval", "verdict")
    if markdown is not None:
        lines = [head, ("---",) * len(head), *rows]
        write_text(markdown, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    if as_json:
        emit_json(
            {"schema": SCHEMA, "a": str(paths[0]), "b": str(paths[1]), "metrics": [_compared(f) for f in found]}
        )
    else:
        emit_table(head, rows)


def _compared(item: Compared) -> dict[str, Any]:
    return {
        "protocol": item.protocol, "metric": item.metric, "verdict": item.verdict, **asdict(item.difference),
    }  # fmt: skip


def _compared_row(item: Compared) -> tuple[str, ...]:
    from lipsync_cli.evaluation.metrics import METRICS, format_value

    found = item.difference
    name = item.metric
    a, b, apart, low, high = (
        format_value(name, v) for v in (found.a, found.b, found.difference, found.low, found.high)
    )
    return item.protocol, METRICS[name].title, str(found.n), a, b, apart, f"{low} … {high}", item.verdict


def _shown(given: dict[str, Any]) -> bool | None:
    shown: bool | None = False if given["quiet"] else given["show_progress"]
    return shown
