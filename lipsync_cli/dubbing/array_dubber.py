"""A dub of pictures that are in memory: the same path as that of a file, between two arrays."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.types import AudioSpan, UInt8
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.picture_dubber import PictureDubber
from lipsync_cli.dubbing.plan import PicturePlan
from lipsync_cli.dubbing.profiling import StageClock
from lipsync_cli.media.arrays import frames_of, picture_info, picture_of


def dub_arrays(
    plan: PicturePlan, model: LoadedModel, pictures: Iterable[UInt8], speech: Iterator[AudioSpan], rate: Fraction
) -> Generator[UInt8, None, None]:
    """Every picture, uint8 RGB ``[h w 3]``, in order, with the chosen faces speaking ``speech``.

    What is not dubbed comes back as it was. Held: the frames that the stages hold, whatever the length.
    """
    source = iter(pictures)
    first = next(source, None)
    if first is None:
        return
    stream = picture_info(first, rate)
    track = SpeechTrack(speech, keep_all=model.generator.spec.whole_audio)
    frames = frames_of(chain((first,), source), stream)
    with PictureDubber(plan, stream) as picture, closing(picture.run(frames, model, track, StageClock())) as dubbed:
        for _, frame in dubbed:
            yield picture_of(frame)
