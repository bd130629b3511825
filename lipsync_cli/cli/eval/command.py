"""``lipsync eval``: score a clip, run a protocol over many, or compare two results."""

from __future__ import annotations

from pathlib import Path

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.eval import options as e
from lipsync_cli.cli.eval.arguments import (
    ClipArguments,
    DubArguments,
    ManifestArguments,
    NetworkArguments,
    OutputArguments,
    check_mode,
)
from lipsync_cli.cli.eval.many_clips import run_manifest
from lipsync_cli.cli.eval.one_clip import score_one
from lipsync_cli.cli.eval.two_results import compare_results
from lipsync_cli.cli.paths import check_folder

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
    of_clip = ClipArguments(against=against, source=source, original=original, audio=audio, trim=trim)
    of_manifest = ManifestArguments(protocol=protocol, where=where, limit=limit, seconds=seconds)
    networks = NetworkArguments(syncnet=syncnet, stable_sync=stable_sync, weights=weights, threads=threads)
    overrides = {"model": model, "face": face, "seed": seed, "device": device, "threads": threads}
    dubs = DubArguments(preset=preset, overrides=overrides, sets=sets, options=options)
    progress = False if quiet else show_progress
    output = OutputArguments(as_json=as_json, markdown=markdown, html=html, progress=progress)
    check_mode({"CLIP": clip, "--manifest": manifest, "--compare": compare}, of_clip, of_manifest, output)
    for path in (html, markdown):
        if path is not None:
            check_folder(path)
    if compare is not None:
        compare_results(compare, output)
    elif manifest is not None:
        run_manifest(manifest, of_manifest, dubs, networks, output, folder=out)
    elif clip is not None:
        score_one(clip, of_clip, networks, output, face=face)
