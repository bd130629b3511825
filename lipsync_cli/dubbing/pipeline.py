"""The main path: source → faces → crops → audio window → generator → compositor → sink.

Stages are iterators that hold a declared number of frames, so memory does not grow with length, and ``dub`` to a
file is the stream of frames written to a file. Decoding, tracking and generating run in a thread each, composition in
several, dlib and ffmpeg's encoder in processes of theirs. While a GPU generates, the CPU tracks the next faces;
the last are composed by the same GPU, or by the CPU where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Generator as IteratorOf
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_cli import hub
from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.compositing.backend import choose_backend, composites_on_device
from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.core.concurrency import cores, in_background
from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.core.mouth_region import REGIONS
from lipsync_cli.core.timeline import plan_length
from lipsync_cli.core.types import Face, Frame
from lipsync_cli.dubbing.contact_sheet import SheetMaker
from lipsync_cli.dubbing.latency import STAGES, latency_ledger
from lipsync_cli.dubbing.plan import Job, open_sink, open_sound, open_source
from lipsync_cli.dubbing.report import DubReport, StageClock
from lipsync_cli.dubbing.report_builder import make_report
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.dubbing.segments import SegmentOptions, Slot, dub_segments
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.engines.mini.adapter import read_adapter
from lipsync_cli.engines.protocol import Generator
from lipsync_cli.engines.registry import Sampling, choose_device, load_generator
from lipsync_cli.faces.alignment import TEMPLATES
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detection import create_detector
from lipsync_cli.faces.options import track_options
from lipsync_cli.faces.selection import parse_face_choice, select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.faces.worker import WORKER_DETECTORS, FaceWorker, worth_it
from lipsync_cli.media.audio import duration_of
from lipsync_cli.media.decode import measure_video
from lipsync_cli.media.output import STDOUT, check_output
from lipsync_cli.media.pixels import decoded_format
from lipsync_cli.media.probe import probe, require_audio, require_video
from lipsync_cli.settings import DubSettings

DECODED_AHEAD = TRACKED_AHEAD = SPOKEN_AHEAD = 4
MOST_DRAWERS = 4
OnProgress = Callable[[int, int | None], None]


def dub(
    request: DubRequest,
    on_progress: OnProgress = lambda done, total: None,
    *,
    load: Callable[[Job], Generator[Any]] | None = None,
) -> DubReport:
    """Dub one video as ``request`` says and tell what was done.

    ``load`` gives the generator instead of ``make_generator``. Raises the errors of ``lipsync_cli.core.errors``; then
    nothing is left under the output's name.
    """
    with ExitStack() as stack:
        worker = stack.enter_context(_face_worker(request.settings))
        job, clock, tally = prepare(request, beside=worker.start if worker else None), StageClock(), FrameStatistics()
        sheet = SheetMaker(job.stream) if request.sheet else None
        tracker = _tracker(job, worker)
        with clock.stage("load"):
            generator = (load or make_generator)(job)
        source = stack.enter_context(open_source(job))
        decoded = stack.enter_context(in_background(clock.wrap("decode", source), DECODED_AHEAD, name="decode"))
        whole = generator.spec.whole_audio
        speech = SpeechTrack(iter(stack.enter_context(open_sound(job))), keep_all=whole)
        sink = stack.enter_context(open_sink(job))
        observe = _observer(job, tally, sheet)
        composed = compose(job, generator, tracker, _within(job, decoded), speech, clock=clock, observe=observe)
        for frame in stack.enter_context(closing(composed)):
            if sheet is not None:
                sheet.result(frame)
            with clock.stage("encode", frames=1):
                sink.write(frame)
            clock.mark("first frame")
            on_progress(sink.frames_written, job.frames_expected)
        _require_dubbed(job, tally)
        with clock.stage("encode"):
            stack.pop_all().close()
    if sheet is not None and request.sheet is not None:
        sheet.save(request.sheet)
    return make_report(job, generator, clock, tally, warnings=(*source.warnings, *sink.warnings))


def explain(request: DubRequest) -> dict[str, Any]:
    """The latency ledger and the stages of a dub without doing it: reads the headers of the inputs and the model."""
    job = prepare(request, check=False)
    generator = make_generator(job)
    ledger = latency_ledger(request.settings, generator, job.stream.rate)
    return {"ledger": list(ledger), "stages": list(STAGES)}


def prepare(request: DubRequest, *, check: bool = True, beside: Callable[[], None] | None = None) -> Job:
    """Look everything up and refuse what cannot work; ``check`` includes the output's place.

    ``beside`` is called when only the device is left to be found, for which torch is imported: that takes a second.
    """
    settings = request.settings
    video, audio = probe(request.video), probe(request.audio)
    stream = require_video(video)
    require_audio(audio)
    if check:
        target = STDOUT if request.output is None else request.output
        inputs = (request.video, request.audio)
        check_output(target, inputs, overwrite=request.overwrite, container=request.container)
    parse_face_choice(settings.face)
    card = hub.load_card(settings.model)
    adapter = None if settings.adapter is None else read_adapter(Path(settings.adapter), card)
    start, end = request.start or Fraction(0), request.end
    shown = _part(measure_video(request.video, stream), start, end)
    spoken = _part(duration_of(request.audio), start, end)
    length = plan_length(settings.length, shown, spoken)
    if beside is not None:
        beside()
    device = choose_device(settings.device)
    composites_on_device(settings.compositor, device)
    return Job(request, card, video, audio, stream, length, device, adapter)


def compose(
    job: Job,
    generator: Generator[Any],
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
    settings, spec = job.request.settings, generator.spec
    delivered = replace(job.stream, pix_fmt=decoded_format(job.stream))
    backend = choose_backend(settings.compositor, job.device, generator)
    region = REGIONS[spec.template]
    compositor = Compositor(delivered, region=region, color_match=settings.color_match, backend=backend)
    template = TEMPLATES[spec.template]

    def cut(frame: Frame, face: Face) -> Any:
        return cut_crop(frame, face, job.stream, template, spec.crop_size)

    options = SegmentOptions(
        reference_frames=settings.reference_frames,
        fade_frames=settings.fade_frames,
        silence=settings.silence,
        seed=settings.seed,
    )
    # The choice reads what the tracker knows, so both run in one thread: the result must not depend on timing.
    tracked = clock.wrap("track", tracker.run(frames))
    chosen = select(tracked, parse_face_choice(settings.face), tracker)
    with in_background(chosen, TRACKED_AHEAD, name="track") as ready:
        yield from dub_segments(
            ready, generator, speech, cut, compositor.blend, options,
            clock=clock, observe=observe, ahead=SPOKEN_AHEAD, workers=_half_of_the_cores(),
        )  # fmt: skip


def _face_worker(settings: DubSettings) -> AbstractContextManager[FaceWorker | None]:
    """Another process that looks at faces, where that is dlib's work and there is a core for it."""
    if settings.detector in WORKER_DETECTORS and worth_it():
        return FaceWorker(settings.detector, settings.landmark_samples)
    return nullcontext()


def _tracker(job: Job, worker: FaceWorker | None) -> Tracker:
    settings, options = job.request.settings, track_options(job.request.settings)
    if worker is not None:
        return Tracker(job.stream, worker, options, predictor=worker)
    return Tracker(job.stream, create_detector(settings.detector, device=job.device), options)


def _half_of_the_cores() -> int:
    """Threads of a part of the work beside which others run, four at most."""
    return max(1, min(4, cores() // 2))


def make_generator(job: Job, *, random_weights: bool = False) -> Generator[Any]:
    """The generator of a job's model; with random weights it costs what the real one does."""
    settings = job.request.settings
    # Small maps gain nothing from more threads each, but a chunk's crops can be drawn side by side.
    small = job.card.kind == "lip-forcing-mini"
    return load_generator(
        job.card,
        device=job.device,
        dtype=settings.dtype,
        threads=1 if small else settings.threads,
        drawers=settings.threads or min(MOST_DRAWERS, cores()),
        parity=settings.parity,
        compile=settings.compile,
        graphs=settings.graphs,
        devices=settings.devices,
        crop_encoder=settings.crop_encoder,
        crop_size=settings.crop_size,
        adapter=job.adapter,
        random_weights=random_weights,
        sampling=Sampling(settings.solver, settings.steps, settings.guidance, settings.reuse, settings.sampling),
    )


def _within(job: Job, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames until the planned duration, for the policies that cut the picture."""
    for frame in frames:
        if job.length.cut_picture and frame.time >= job.length.duration:
            return
        yield frame


def _observer(job: Job, tally: FrameStatistics, sheet: SheetMaker | None) -> Callable[[Slot], None]:
    def observe(slot: Slot) -> None:
        tally.add(slot, 1 / job.stream.rate)
        if sheet is not None:
            sheet.source(slot)

    return observe


def _require_dubbed(job: Job, tally: FrameStatistics) -> None:
    """NoFaceError when nothing was dubbed at all."""
    if tally.dubbed:
        return
    name, frames = job.request.video.name, tally.frames
    left_alone = ", ".join(f"{count} {reason}" for reason, count in tally.passed_through().items())
    brief = tally.reasons["too-brief"]
    if brief:
        raise NoFaceError(
            f"{name} shows a face to dub in only {brief} of {frames} frames, too few at a time.",
            hint="Check --face, or choose the part with --start and --end.",
        )
    raise NoFaceError(
        f"No face could be dubbed in the {frames} frames of {name} ({left_alone}; "
        f"smallest face {job.request.settings.min_face_px} px).",
        hint="Try --set min_face_px=32, --face all, --detector dlib-mmod, or another part with --start and --end.",
    )


def _part(duration: Fraction, start: Fraction, end: Fraction | None) -> Fraction:
    """How much of ``duration`` lies between ``start`` and ``end``."""
    return max(Fraction(0), min(duration, end) if end is not None else duration) - min(start, duration)
