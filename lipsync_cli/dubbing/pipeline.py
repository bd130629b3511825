"""The main path: source → faces → crops → audio window → generator → compositor → sink.

Stages are iterators that hold a declared number of frames, so memory does not grow with length, and ``dub`` to a
file is the stream of frames written to a file. Decoding, tracking and generating run in a thread each, composition in
several, dlib and ffmpeg's encoder in processes of theirs. While a GPU generates, the CPU tracks the next faces;
the last are composed by the same GPU, or by the CPU where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Generator as IteratorOf
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.compositing.backend import choose_backend
from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.core.concurrency import cores, in_background
from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.core.mouth_region import REGIONS
from lipsync_cli.core.types import Face, Frame, VideoInfo
from lipsync_cli.dubbing.contact_sheet import SheetMaker
from lipsync_cli.dubbing.latency import latency_entries
from lipsync_cli.dubbing.model import LoadedModel, load_model, require_same_model, resolve_device
from lipsync_cli.dubbing.plan import DubPlan, PicturePlan
from lipsync_cli.dubbing.profiling import STAGES, StageClock
from lipsync_cli.dubbing.report import DubReport, LatencyEntry
from lipsync_cli.dubbing.report_builder import make_report
from lipsync_cli.dubbing.segments import Slot, dub_segments
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.dubbing.streams import open_sink, open_sound, open_source
from lipsync_cli.faces.alignment import TEMPLATES
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detection import create_detector
from lipsync_cli.faces.selection import select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.faces.worker import WORKER_DETECTORS, FaceWorker, worth_it
from lipsync_cli.media.pixels import decoded_format

DECODED_AHEAD = TRACKED_AHEAD = SPOKEN_AHEAD = 4
OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a dub would wait for before its first frame, and the stages it would go through."""

    latency: tuple[LatencyEntry, ...]
    stages: tuple[str, ...] = STAGES


def dub(
    plan: DubPlan, model: LoadedModel | None = None, on_progress: OnProgress = lambda done, total: None
) -> DubReport:
    """Do what ``plan`` says and tell what was done; ``model`` is used if given, else loaded for this dub.

    ``on_progress`` is called with the frames written and about how many there will be. Raises the errors of
    ``lipsync_cli.core.errors``; then nothing is left under the output's name.
    """
    if model is not None:
        require_same_model(plan.picture, model)
    with ExitStack() as stack:
        # dlib loads in its process while torch is imported to find the device.
        worker = _start_face_worker(stack, plan.picture)
        device = resolve_device(plan.picture) if model is None else model.device
        clock, tally = StageClock(STAGES), FrameStatistics()
        sheet = SheetMaker(plan.stream) if plan.request.sheet else None
        tracker = _tracker(plan.picture, plan.stream, device, worker)
        if model is None:
            with clock.stage("load"):
                model = load_model(plan.picture, device=device)
        source = stack.enter_context(open_source(plan))
        decoded = stack.enter_context(in_background(clock.wrap("decode", source), DECODED_AHEAD, name="decode"))
        whole = model.generator.spec.whole_audio
        speech = SpeechTrack(iter(stack.enter_context(open_sound(plan))), keep_all=whole)
        sink = stack.enter_context(open_sink(plan))
        observe = _observer(plan.stream, tally, sheet)
        frames = _within(plan, decoded)
        composed = compose(plan.picture, plan.stream, model, tracker, frames, speech, clock=clock, observe=observe)
        for frame in stack.enter_context(closing(composed)):
            if sheet is not None:
                sheet.result(frame)
            with clock.stage("encode", frames=1):
                sink.write(frame)
            clock.mark("first frame")
            on_progress(sink.frames_written, plan.frames_expected)
        _require_dubbed(plan, tally)
        with clock.stage("encode"):
            stack.pop_all().close()
    if sheet is not None and plan.request.sheet is not None:
        sheet.save(plan.request.sheet)
    return make_report(plan, model, clock, tally, warnings=(*source.warnings, *sink.warnings))


def explain(plan: DubPlan, model: LoadedModel | None = None) -> Explanation:
    """The latency and the stages of a dub without doing it; loads the model unless it is given."""
    spec = (model or load_model(plan.picture)).generator.spec
    return Explanation(latency_entries(plan.settings, spec, plan.stream.rate))


def compose(
    plan: PicturePlan,
    stream: VideoInfo,
    model: LoadedModel,
    tracker: Tracker,
    frames: Iterator[Frame],
    speech: SpeechTrack,
    *,
    clock: StageClock,
    observe: Callable[[Slot], None] = lambda slot: None,
) -> IteratorOf[Frame, None, None]:
    """Faces, segments and composition: every frame that goes in comes out, at its time.

    Faces are followed, and crops generated, in threads a few frames ahead; close the iterator to end them.
    """
    generator, settings = model.generator, plan.settings
    spec = generator.spec
    delivered = replace(stream, pix_fmt=decoded_format(stream))
    backend = choose_backend(settings.compositor, model.device, generator)
    region = REGIONS[spec.template]
    compositor = Compositor(delivered, region=region, color_match=settings.color_match, backend=backend)
    template = TEMPLATES[spec.template]

    def cut(frame: Frame, face: Face) -> Any:
        return cut_crop(frame, face, stream, template, spec.crop_size)

    # The choice reads what the tracker knows, so both run in one thread: the result must not depend on timing.
    tracked = clock.wrap("track", tracker.run(frames))
    chosen = select(tracked, plan.face, tracker)
    with in_background(chosen, TRACKED_AHEAD, name="track") as ready:
        yield from dub_segments(
            ready, generator, speech, cut, compositor.blend, plan.segments,
            clock=clock, observe=observe, ahead=SPOKEN_AHEAD, workers=_half_of_the_cores(),
        )  # fmt: skip


def _start_face_worker(stack: ExitStack, plan: PicturePlan) -> FaceWorker | None:
    """Another process that looks at faces, where that is dlib's work and there is a core for it."""
    settings = plan.settings
    if settings.detector not in WORKER_DETECTORS or not worth_it():
        return None
    worker = stack.enter_context(FaceWorker(settings.detector, settings.landmark_samples))
    worker.start()
    return worker


def _tracker(plan: PicturePlan, stream: VideoInfo, device: str, worker: FaceWorker | None) -> Tracker:
    if worker is not None:
        return Tracker(stream, worker, plan.tracking, predictor=worker)
    return Tracker(stream, create_detector(plan.settings.detector, device=device), plan.tracking)


def _half_of_the_cores() -> int:
    """Threads of a part of the work beside which others run, four at most."""
    return max(1, min(4, cores() // 2))


def _within(plan: DubPlan, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames until the planned duration, for the policies that cut the picture."""
    for frame in frames:
        if plan.length.cut_picture and frame.time >= plan.length.duration:
            return
        yield frame


def _observer(stream: VideoInfo, tally: FrameStatistics, sheet: SheetMaker | None) -> Callable[[Slot], None]:
    def observe(slot: Slot) -> None:
        tally.add(slot, 1 / stream.rate)
        if sheet is not None:
            sheet.source(slot)

    return observe


def _require_dubbed(plan: DubPlan, tally: FrameStatistics) -> None:
    """NoFaceError when nothing was dubbed at all."""
    if tally.dubbed:
        return
    name, frames = plan.request.video.name, tally.frames
    left_alone = ", ".join(f"{count} {reason}" for reason, count in tally.passed_through().items())
    brief = tally.reasons["too-brief"]
    if brief:
        raise NoFaceError(
            f"{name} shows a face to dub in only {brief} of {frames} frames, too few at a time.",
            hint="Check --face, or choose the part with --start and --end.",
        )
    raise NoFaceError(
        f"No face could be dubbed in the {frames} frames of {name} ({left_alone}; "
        f"smallest face {plan.settings.min_face_px} px).",
        hint="Try --set min_face_px=32, --face all, --detector dlib-mmod, or another part with --start and --end.",
    )
