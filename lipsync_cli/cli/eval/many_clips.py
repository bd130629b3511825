"""``lipsync eval --manifest``: protocols over many clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, stderr
from lipsync_cli.cli.eval.arguments import DubArguments, ManifestArguments, NetworkArguments, OutputArguments
from lipsync_cli.cli.paths import make_folder, write_text
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.evaluation.suite.protocols import DEFAULT_PROTOCOLS, PROTOCOLS, SuiteProtocol

if TYPE_CHECKING:
    from lipsync_cli.evaluation.suite.plan import ItemResult, SuiteItem, SuitePlan


def run_manifest(
    manifest: Path,
    arguments: ManifestArguments,
    dubs: DubArguments,
    networks: NetworkArguments,
    output: OutputArguments,
    *,
    folder: Path,
) -> None:
    """Dub and score what ``arguments`` choose of ``manifest``; everything is kept in ``folder``."""
    plan = _plan(manifest, arguments, dubs, folder)
    loaded = networks.load()
    from lipsync_cli.evaluation.suite.runner import SuiteRunner

    results: list[ItemResult] = []
    for result in SuiteRunner(plan, loaded).run(_on_item(len(plan.items()), quiet=output.progress is False)):
        results.append(result)
        if result.error:
            stderr().print(f"{result.name} was left out: {result.error}", highlight=False, markup=False)
    if not any(result.score for result in results):
        raise InputError(f"None of the {len(results)} clips could be scored.", hint=results[0].error)
    _write(plan, results, output)


def _write(plan: SuitePlan, results: list[ItemResult], output: OutputArguments) -> None:
    from lipsync_cli.evaluation.suite.html import write_html
    from lipsync_cli.evaluation.suite.pooled import pool_features
    from lipsync_cli.evaluation.suite.results import document, markdown, summarise

    pooled = pool_features(((result.protocol, result.name) for result in results if result.score), plan.folder)
    rows = summarise(results, pooled)
    whole = document(results, _settings(plan), pooled)
    write_text(plan.folder / "result.json", json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    if output.html is not None:
        write_html(output.html, f"lipsync eval: {plan.settings.model}", rows, results, plan.folder)
    if output.markdown is not None:
        write_text(output.markdown, markdown(rows))
    if output.as_json:
        emit_json(whole)
    else:
        emit_lines(markdown(rows).splitlines())


def _on_item(total: int, *, quiet: bool) -> Callable[[SuiteItem, bool], None]:
    """Says on stderr which item's turn it is."""
    count = 0

    def on_item(item: SuiteItem, cached: bool) -> None:
        nonlocal count
        count += 1
        if not quiet:
            note = " (kept)" if cached else ""
            stderr().print(f"{count} of {total}: {item.protocol.name} {item.clip.name}{note}", highlight=False)

    return on_item


def _plan(manifest: Path, arguments: ManifestArguments, dubs: DubArguments, folder: Path) -> SuitePlan:
    """Everything checked and looked up, cheapest first; makes ``folder``."""
    protocols = _protocols(arguments.protocol)
    where = _where(arguments.where)
    if not manifest.exists():
        raise InputError(f"There is no manifest {manifest}.", hint="Expected a CSV, JSONL or a folder.")
    resolved = dubs.resolve()
    seconds = _seconds(arguments.seconds)
    from lipsync_cli.evaluation.suite.manifest import read_manifest
    from lipsync_cli.evaluation.suite.plan import SuitePlan

    clips = read_manifest(manifest, where=where, limit=arguments.limit)
    make_folder(folder)
    return SuitePlan(clips, protocols, folder, resolved.settings, resolved.preset, seconds, resolved.options)


def _protocols(names: list[str] | None) -> tuple[SuiteProtocol, ...]:
    chosen = names or DEFAULT_PROTOCOLS
    unknown = [name for name in chosen if name not in PROTOCOLS]
    if unknown:
        raise UsageError(f"There is no protocol {unknown[0]!r}.", hint=f"Choose among {', '.join(PROTOCOLS)}.")
    return tuple(PROTOCOLS[name] for name in dict.fromkeys(chosen))


def _where(pairs: list[str] | None) -> dict[str, str]:
    for pair in pairs or []:
        if "=" not in pair:
            raise UsageError(f"--where {pair} has no value.", hint="Write --where COLUMN=VALUE.")
    return dict(pair.split("=", 1) for pair in pairs or [])


def _seconds(text: str | None) -> Fraction | None:
    seconds = o.parse_time(text)
    if seconds is not None and seconds <= 0:
        raise UsageError("--seconds must be more than 0.")
    return seconds


def _settings(plan: SuitePlan) -> dict[str, Any]:
    """What the result says of how clips were dubbed."""
    seconds = None if plan.seconds is None else float(plan.seconds)
    return {"preset": plan.preset, "seconds": seconds, **plan.settings.model_dump(mode="json")}
