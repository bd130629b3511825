"""Faces, segments and composition: from decoded frames to dubbed ones, wherever frames come from and go to."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Self

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.compositing.backend import choose_backend, composites_on_device
from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.core.concurrency import cores, in_background
from lipsync_cli.core.crop_templates import crop_template
from lipsync_cli.core.types import Crop, Face, Frame, ModelSpec, VideoInfo
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.plan import PicturePlan
from lipsync_cli.dubbing.profiling import StageClock
from lipsync_cli.dubbing.segment_dubber import SegmentDubber
from lipsync_cli.dubbing.segments import Slot
from lipsync_cli.engines.devices import torch_threads
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detectors.registry import create_reader, find_detector
from lipsync_cli.faces.selection import select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.faces.worker import FaceWorker, worth_it
from lipsync_cli.media.pixels import decoded_format

TRACKED_AHEAD = SPOKEN_AHEAD = 4
MOST_COMPOSERS = 4


@dataclass(frozen=True, slots=True)
class FaceCropper:
    """Cuts faces out of frames of ``stream`` as a model wants them."""

    stream: VideoInfo
    spec: ModelSpec

    def cut(self, frame: Frame, face: Face) -> Crop:
        """The aligned crop of one face."""
        return cut_crop(frame, face, self.stream, crop_template(self.spec.template), self.spec.crop_size)


class PictureDubber:
    """Dubs the faces of one stream of frames as ``plan`` says.

    A context manager: entering it starts the process in which dlib looks at faces, where there is a core for that, so
    that it loads while the caller imports torch and loads the model; leaving it ends the process.
    """

    def __init__(self, plan: PicturePlan, stream: VideoInfo) -> None:
        self._plan, self._stream = plan, stream
        detector = plan.settings.detector
        apart = find_detector(detector).in_worker_process and worth_it()
        self._worker = FaceWorker(detector, plan.settings.landmark_samples) if apart else None

    def __enter__(self) -> Self:
        if self._worker is not None:
            self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.close()

    def run(
        self, frames: Iterator[Frame], model: LoadedModel, speech: SpeechTrack, clock: StageClock
    ) -> Generator[tuple[Slot, Frame], None, None]:
        """Every frame of ``frames``, in order and at its time: what it was and got, and what it became.

        Faces are followed, and crops generated, in threads a few frames ahead; close the iterator to end them.
        """
        tracker = self._tracker(model.device)
        model.generator.leave_on_device = composites_on_device(self._plan.settings.compositor, model.device)
        cropper = FaceCropper(self._stream, model.generator.spec)
        dubber = SegmentDubber(
            model.generator, speech, cropper.cut, self._compositor(model).blend, self._plan.segments, clock
        )
        # The choice reads what the tracker knows, so both run in one thread: the result must not depend on timing.
        chosen = select(clock.wrap("track", tracker.run(frames)), self._plan.face, tracker)
        with torch_threads(model.generator.threads), in_background(chosen, TRACKED_AHEAD, name="track") as tracked:
            yield from dubber.run(tracked, ahead=SPOKEN_AHEAD, workers=max(1, min(MOST_COMPOSERS, cores() // 2)))

    def _tracker(self, device: str) -> Tracker:
        settings = self._plan.settings
        if self._worker is not None:
            return Tracker(self._stream, self._worker.reader, self._plan.tracking)
        reader = create_reader(settings.detector, device=device, samples=settings.landmark_samples)
        return Tracker(self._stream, reader, self._plan.tracking)

    def _compositor(self, model: LoadedModel) -> Compositor:
        settings, stream = self._plan.settings, self._stream
        return Compositor(
            replace(stream, pix_fmt=decoded_format(stream)),
            region=crop_template(model.generator.spec.template).region,
            color_match=settings.color_match,
            backend=choose_backend(settings.compositor, model.device),
        )
