"""Pictures and sound that are in memory already, as the frames and spans that files give, and frames as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.types import SPEECH_RATE, AudioSpan, Float32, Frame, UInt8, VideoInfo
from lipsync_cli.media.audio import clipped, resampled_speech
from lipsync_cli.media.color import RGB_COLOR

PIX_FMT = "gbrp"
"""What pictures travel as: planes of 8-bit green, blue and red, so that what nobody touches stays exact."""
_BLOCK = 65_536


def picture_info(picture: UInt8, rate: Fraction) -> VideoInfo:
    """The stream that pictures like ``picture`` (uint8 RGB ``[h w 3]``) make at ``rate`` per second.

    Raises InputError for an array that is no such picture.
    """
    _require_picture(picture, 0)
    height, width = picture.shape[:2]
    return VideoInfo(0, "rawvideo", width, height, PIX_FMT, 8, 1 / rate, rate, Fraction(0), color=RGB_COLOR)


def frames_of(pictures: Iterable[UInt8], info: VideoInfo) -> Iterator[Frame]:
    """A frame for every picture, which may be overwritten once the next one is asked for.

    Raises InputError for a picture of another shape or type than the first.
    """
    for index, picture in enumerate(pictures):
        _require_picture(picture, index)
        if picture.shape[:2] != (info.height, info.width):
            shape = "×".join(map(str, picture.shape[1::-1]))
            raise InputError(f"Frame {index} is {shape}, and the first one was {info.width}×{info.height}.")
        rgb: UInt8 = np.array(picture, order="C")
        planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
        yield Frame(index, index, info.time_base, planes, PIX_FMT, rgb)


def picture_of(frame: Frame) -> UInt8:
    """The RGB picture ``[h w 3]``, contiguous, of a frame that ``frames_of`` gave."""
    green, blue, red = frame.planes
    return np.asarray(np.stack((red, green, blue), axis=-1), np.uint8)


def speech_of(audio: npt.NDArray[np.floating] | Iterable[npt.NDArray[np.floating]], rate: int) -> Iterator[AudioSpan]:
    """Mono speech at 16 kHz, as ``open_speech`` gives it, from samples in [−1, 1] at ``rate`` per second.

    ``audio`` is an array ``[n]`` or ``[channels n]``, or a stream of such blocks; channels count alike. Raises
    InputError for samples that are no floating-point numbers, and where there is none. Held: one block.
    """
    blocks = (audio,) if isinstance(audio, np.ndarray) else audio
    delivered = 0
    for samples in resampled_speech((block, rate) for block in _mono(blocks)):
        yield AudioSpan(samples[None], SPEECH_RATE, delivered)
        delivered += len(samples)
    if not delivered:
        raise InputError("The sound is empty.", hint="Give at least one sample.")


def _mono(blocks: Iterable[npt.NDArray[np.floating]]) -> Iterator[Float32]:
    for block in blocks:
        if not (isinstance(block, np.ndarray) and block.ndim in (1, 2) and np.issubdtype(block.dtype, np.floating)):
            found = f"{block.dtype} {list(block.shape)}" if isinstance(block, np.ndarray) else type(block).__name__
            raise InputError(
                f"The sound must be floating-point samples [n] or [channels n] in [-1, 1], got {found}.",
                hint="Divide integers by their largest value, 32768 for int16.",
            )
        mixed = block if block.ndim == 1 else block.mean(0, dtype=np.float64)
        for begin in range(0, len(mixed), _BLOCK):
            yield clipped(np.nan_to_num(mixed[begin : begin + _BLOCK], nan=0.0).astype(np.float32))


def _require_picture(picture: object, index: int) -> None:
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3:
        return
    found = f"{picture.dtype} {list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__
    raise InputError(f"Frame {index} must be a uint8 RGB array [height width 3], got {found}.")
