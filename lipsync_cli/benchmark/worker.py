"""One measurement in a process of its own: ``python -m lipsync_cli.benchmark.worker`` reads a job and prints what it
cost.

The first dub starts from nothing, as a user's does; the next finds the networks loaded and everything warm. Then one
goes to a pipe, as to a player, to see when the first encoded frame comes out, and where a generator tells what its
time goes to, one more is watched from inside.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.core.errors import LipsyncError

if TYPE_CHECKING:
    from lipsync_cli.dubbing.model import LoadedModel
    from lipsync_cli.dubbing.plan import DubPlan
    from lipsync_cli.dubbing.request import DubRequest

VIDEO_PACKET = b"\x00\x00\x01\xe0"
"""How a picture begins in an MPEG transport stream: start code and the first video stream's number."""


def main() -> None:
    """Read a JSON job from stdin: video, audio, output, settings, ``spawned`` (epoch seconds), ``random_weights``."""
    job = json.load(sys.stdin)
    try:
        result = _run(job)
    except LipsyncError as error:
        result = {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}
    sys.stdout.write(json.dumps(result))


def _run(job: dict[str, Any]) -> dict[str, Any]:
    from lipsync_cli.dubbing.model import load_model, resolve_device
    from lipsync_cli.dubbing.plan import plan
    from lipsync_cli.dubbing.request import DubRequest
    from lipsync_cli.settings import DubSettings, OptionLayers

    request = DubRequest(
        video=Path(job["video"]),
        audio=Path(job["audio"]),
        output=Path(job["output"]),
        settings=DubSettings(**job["settings"]),
        options=OptionLayers(given=job.get("options", {})),
        overwrite=True,
    )
    planned = plan(request)
    device, began = resolve_device(planned.picture), time.perf_counter()
    model = load_model(planned.picture, device=device, random_weights=job.get("random_weights", False))
    load_s = time.perf_counter() - began
    runs = [measure(planned, model) for _ in range(2)]
    cold = runs[0].pop("first_frame_epoch") - job["spawned"]
    runs[0]["wall_s"] += load_s
    runs[1].pop("first_frame_epoch")
    result = {"cold_first_frame_s": cold, "runs": runs, "live_first_frame_s": first_packet_s(request, model)}
    flops = model.generator.flops_per_frame()
    if flops is not None:
        result["flops_per_frame"] = flops
        result["inside"] = seconds_inside(planned, model)
    return {**result, "peak_vram_mb": peak_vram_mb()}


def measure(plan: DubPlan, model: LoadedModel) -> dict[str, Any]:
    """One dub: its report's figures, and when its first frame went to the encoder."""
    from lipsync_cli.dubbing import pipeline

    first = 0.0

    def on_progress(done: int, total: int | None) -> None:
        nonlocal first
        first = first or time.time()

    report = pipeline.dub(plan, model, on_progress)
    return {
        "first_frame_epoch": first,
        "first_frame_s": report.first_frame_s,
        "wall_s": report.wall_s,
        "realtime_factor": report.realtime_factor,
        "frames": report.frames_out,
        "dubbed": report.frames_dubbed,
        "peak_rss_mb": report.peak_rss_mb,
        "device": report.device,
        "dtype": report.dtype,
        "threads": report.threads,
        "stages": {entry.stage: entry.seconds for entry in report.stages},
    }


def first_packet_s(request: DubRequest, model: LoadedModel) -> float | None:
    """Seconds from opening the inputs to the first encoded frame at the other end of a pipe; then the reader leaves.

    None when no such frame was recognised. Standard output is that pipe meanwhile.
    """
    from lipsync_cli.dubbing import pipeline
    from lipsync_cli.dubbing.plan import plan

    out, into = os.pipe()
    stdout, first = os.dup(1), [0.0]
    reader = threading.Thread(target=_read_until_picture, args=(out, first), daemon=True)
    sys.stdout.flush()
    os.dup2(into, 1)
    os.close(into)
    reader.start()
    began = time.perf_counter()
    try:
        pipeline.dub(plan(replace(request, output=None, container="mpegts")), model)
    finally:
        os.dup2(stdout, 1)  # closes the pipe's last end, so that the reader ends
        os.close(stdout)
        reader.join()
    return first[0] - began if first[0] else None


def _read_until_picture(descriptor: int, first: list[float]) -> None:
    """Note in ``first`` when the first picture came, and close the pipe."""
    tail = b""
    try:
        while data := os.read(descriptor, 1 << 16):
            tail = tail[-len(VIDEO_PACKET) :] + data
            if VIDEO_PACKET in tail:
                first[0] = time.perf_counter()
                return
    finally:
        os.close(descriptor)


def seconds_inside(plan: DubPlan, model: LoadedModel) -> dict[str, float]:
    """Seconds by stage within the generator over a whole dub.

    The device is waited for after every stage, so nothing overlaps and the sum is an upper bound.
    """
    from lipsync_cli.dubbing import pipeline

    generator: Any = model.generator
    spent = dict[str, float]()

    @contextmanager
    def watch(stage: str) -> Iterator[None]:
        generator.wait()
        began = time.perf_counter()
        yield
        generator.wait()
        spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - began

    unwatched, generator.watch = generator.watch, watch
    try:
        pipeline.dub(plan, model)
    finally:
        generator.watch = unwatched
    return spent


def peak_vram_mb() -> float | None:
    """The most GPU memory torch has held, in MiB; None without CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_allocated() / 2**20)


if __name__ == "__main__":
    main()
