"""The same talking clip at another size and length, for measuring how cost grows."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from lipsync_cli.core.types import SPEECH_RATE, UInt8
from lipsync_cli.media.audio import open_speech
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames


def write_picture(source: Path, target: Path, *, seconds: Fraction, height: int) -> tuple[int, int]:
    """Write ``seconds`` of ``source``'s picture, ``height`` pixels high, as H.264 in mp4; its width and frames.

    A source that is too short goes on bouncing. Raises InputError for what is no readable video.
    """
    info = probe(source)
    video = require_video(info)
    width = max(2, round(video.width * height / video.height / 2) * 2)
    count = -int(-seconds * video.rate // 1)
    with open_frames(info, bounce_until=seconds) as decoded:
        views = (frame.rgb for frame in islice(decoded, count))
        pictures = (_scaled(rgb, width, height) for rgb in views if isinstance(rgb, np.ndarray))
        return width, encode_pictures(target, pictures, video.rate)


def encode_pictures(target: Path, pictures: Iterable[UInt8], rate: Fraction) -> int:
    """Write RGB pictures ``[h w 3]`` of one even size as H.264 in mp4; how many there were."""
    count = 0
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for rgb in pictures:
            if not count:
                stream.height, stream.width = rgb.shape[:2]
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
    return count


def write_sound(source: Path, target: Path, *, seconds: Fraction) -> None:
    """Write ``seconds`` of ``source``'s sound, repeated as often as needed, as 16 kHz mono WAV."""
    with open_speech(source) as spans:
        samples = np.concatenate([span.samples[0] for span in spans])
    count = round(seconds * SPEECH_RATE)
    repeated = np.tile(samples, -(-count // len(samples)))[:count]
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, SPEECH_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(repeated, -1, 1) * 32767).astype("<i2").tobytes())


def _scaled(rgb: UInt8, width: int, height: int) -> UInt8:
    how = cv2.INTER_AREA if height < rgb.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), dtype=np.uint8)
