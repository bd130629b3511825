"""The main path: source → faces → crops → audio window → generator → compositor → sink.

Stages are iterators that hold a declared number of frames, so memory does not grow with length, and ``dub`` to a
file is the stream of frames written to a file. Decoding, tracking and generating run in a thread each, composition in
several, dlib and ffmpeg's encoder in processes of theirs. While a GPU generates, the CPU tracks the next faces;
the last are composed by the same GPU, or by the CPU where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.concurrency import in_background
from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.dubbing.contact_sheet import BeforeAfterSheet
from lipsync_cli.dubbing.latency import latency_entries
from lipsync_cli.dubbing.model import LoadedModel, load_model, require_same_model, resolve_device
from lipsync_cli.dubbing.picture_dubber import PictureDubber
from lipsync_cli.dubbing.plan import DubPlan
from lipsync_cli.dubbing.profiling import STAGES, StageClock
from lipsync_cli.dubbing.report import DubReport, LatencyEntry
from lipsync_cli.dubbing.report_builder import make_report
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.dubbing.streams import open_sink, open_sound, open_source

DECODED_AHEAD = 4
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
        picture = stack.enter_context(PictureDubber(plan.picture, plan.stream))
        device = resolve_device(plan.picture) if model is None else model.device
        clock, statistics = StageClock(STAGES), FrameStatistics()
        sheet = BeforeAfterSheet(plan.stream) if plan.request.sheet else None
        if model is None:
            with clock.stage("load"):
                model = load_model(plan.picture, device=device)
        source = stack.enter_context(open_source(plan))
        decoded = stack.enter_context(in_background(clock.wrap("decode", source), DECODED_AHEAD, name="decode"))
        sound = stack.enter_context(open_sound(plan))
        speech = SpeechTrack(iter(sound), keep_all=model.generator.spec.whole_audio)
        sink = stack.enter_context(open_sink(plan, model.generator.spec))
        dubbed = stack.enter_context(closing(picture.run(decoded, model, speech, clock)))
        for slot, frame in dubbed:
            statistics.add(slot, 1 / plan.stream.rate)
            if sheet is not None:
                sheet.add(slot, frame)
            slot.patches.clear()  # not needed while the frame is encoded
            with clock.stage("encode", frames=1):
                sink.write(frame)
            clock.mark("first frame")
            on_progress(sink.frames_written, plan.frames_expected)
        _require_dubbed(plan, statistics)
        with clock.stage("encode"):
            stack.pop_all().close()
    if sheet is not None and plan.request.sheet is not None:
        sheet.save(plan.request.sheet)
    return make_report(plan, model, clock, statistics, source, sink)


def explain(plan: DubPlan, model: LoadedModel | None = None) -> Explanation:
    """The latency and the stages of a dub without doing it; loads the model unless it is given."""
    spec = (model or load_model(plan.picture)).generator.spec
    return Explanation(latency_entries(plan.settings, spec, plan.stream.rate))


def _require_dubbed(plan: DubPlan, statistics: FrameStatistics) -> None:
    """NoFaceError when no face was there to dub; one that the model left as it was is no error."""
    if statistics.dubbed or statistics.unchanged:
        return
    name, frames = plan.request.video.name, statistics.frames
    left_alone = ", ".join(f"{count} {reason}" for reason, count in statistics.passed_through().items())
    brief = statistics.reasons["too-brief"]
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
