"""A dub that was looked up and planned: every choice parsed once, every input probed once, no device touched."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_cli import hub
from lipsync_cli.core.timeline import LengthPlan, plan_length
from lipsync_cli.core.types import MediaInfo, VideoInfo
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.dubbing.segments import SegmentOptions
from lipsync_cli.engines.loading import check_model
from lipsync_cli.faces.options import TrackOptions, track_options
from lipsync_cli.faces.selection import FaceChoice, parse_face_choice
from lipsync_cli.media.audio import duration_of
from lipsync_cli.media.containers import Container, container_for
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.output import STDOUT, check_output
from lipsync_cli.media.probe import probe, require_audio, require_video
from lipsync_cli.settings import DubSettings, OptionLayers

NO_OPTIONS = OptionLayers()


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """How frames become dubbed frames, wherever they come from: ``settings`` with every choice in them parsed.

    ``options`` are those of the model's engine, by name.
    """

    settings: DubSettings
    card: hub.ModelCard
    options: dict[str, Any]
    face: FaceChoice
    tracking: TrackOptions
    segments: SegmentOptions


@dataclass(frozen=True, slots=True)
class DubPlan:
    """All that can be known of a dub before frames flow. ``stream`` is the picture of ``video``."""

    request: DubRequest
    picture: PicturePlan
    video: MediaInfo
    audio: MediaInfo
    stream: VideoInfo
    length: LengthPlan
    container: Container
    encoding: EncodeOptions

    @property
    def settings(self) -> DubSettings:
        """The settings asked for."""
        return self.request.settings

    @property
    def target(self) -> Path | str:
        """Where the result goes: a path, or ``-`` for stdout."""
        return STDOUT if self.request.output is None else self.request.output

    @property
    def start(self) -> Fraction:
        """Seconds into both inputs at which the result begins."""
        return self.request.start or Fraction(0)

    @property
    def frames_expected(self) -> int:
        """About how many frames there will be, for progress."""
        return max(1, round(self.length.duration * self.stream.rate))


def plan(request: DubRequest, *, check_place: bool = True) -> DubPlan:
    """Look everything up and refuse what cannot work, before torch is imported.

    Each input is opened once, to be probed and measured. ``check_place`` is for those who mean to write: whether the
    output may be put where it is to go. Raises UsageError, InputError, ModelError and OutputError.
    """
    target = STDOUT if request.output is None else request.output
    if check_place:
        inputs = (request.video, request.audio)
        container = check_output(target, inputs, overwrite=request.overwrite, container=request.container)
    else:
        container = container_for(target, request.container)
    picture = plan_picture(request.settings, request.options)
    video, audio = probe(request.video, measure="video"), probe(request.audio, measure="audio")
    stream = require_video(video)
    require_audio(audio)
    return DubPlan(
        request=request,
        picture=picture,
        video=video,
        audio=audio,
        stream=stream,
        length=_length(request, stream, audio),
        container=container,
        encoding=_encoding(request),
    )


def plan_picture(settings: DubSettings, layers: OptionLayers = NO_OPTIONS) -> PicturePlan:
    """Parse what ``settings`` say of the picture, read the model's card and check its engine's options.

    Raises UsageError and ModelError.
    """
    card = hub.load_card(settings.model)
    options, origins = layers.for_kind(card.kind)
    check_model(card, options, origins, dtype=settings.dtype)
    return PicturePlan(
        settings=settings,
        card=card,
        options=options,
        face=parse_face_choice(settings.face),
        tracking=track_options(settings),
        segments=SegmentOptions(
            reference_frames=settings.reference_frames,
            fade_frames=settings.fade_frames,
            silence=settings.silence,
            seed=settings.seed,
        ),
    )


def _length(request: DubRequest, stream: VideoInfo, audio: MediaInfo) -> LengthPlan:
    start, end = request.start or Fraction(0), request.end
    picture = _part(stream.measured or Fraction(0), start, end)
    return plan_length(request.settings.length, picture, _part(duration_of(audio), start, end))


def _part(duration: Fraction, start: Fraction, end: Fraction | None) -> Fraction:
    """How much of ``duration`` lies between ``start`` and ``end``."""
    return max(Fraction(0), min(duration, end) if end is not None else duration) - min(start, duration)


def _encoding(request: DubRequest) -> EncodeOptions:
    settings = request.settings
    return EncodeOptions(
        codec=settings.codec,
        crf=settings.crf,
        preset=settings.encoder_preset,
        pix_fmt=settings.pix_fmt,
        low_latency=request.output is None,
    )
