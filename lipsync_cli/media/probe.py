"""What a media file holds, found with PyAV alone: the container's word, checked against one decoded frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import av.error

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.timeline import exact_rate
from lipsync_cli.core.types import AudioInfo, MediaInfo, OtherStream, VideoInfo
from lipsync_cli.media.color import STILL_COLOR, color_info
from lipsync_cli.media.stream_lengths import StreamLengths

_NOT_MEDIA = {"tty", "txt", "subviewer", "srt", "microdvd", "lrc", "ffmetadata", "concat"}
_STILL_BRANDS = {"avif", "avis", "heic", "heix", "mif1"}
STILL_RATE = Fraction(25)


def probe(path: Path | str, *, measure: Literal["video", "audio"] | None = None) -> MediaInfo:
    """Describe a media file. One video frame is decoded, for rotation and colours.

    ``measure``: all packets of its picture or its sound are read as well, in the same opening, for their ``measured``
    lengths. Raises InputError for a file that is missing, a directory, empty, unreadable, truncated or not media.
    """
    path = Path(path)
    with opened(path) as container:
        start = Fraction(container.start_time or 0, av.time_base)
        video = _best_video(container)
        sounds = [stream for stream in container.streams.audio if _decodable(stream)]
        measured = _measured_streams(measure, video, sounds)
        lengths = StreamLengths(container, max(start, Fraction(0)), measured)
        known = {video.index if video else -1, *(stream.index for stream in sounds)}
        media = MediaInfo(
            path,
            container.format.name,
            duration=Fraction(container.duration, av.time_base) if container.duration else None,
            audio=tuple(map(_audio_info, sounds)),
            other_streams=tuple(_other(stream) for stream in container.streams if stream.index not in known),
            video=None if video is None else _video_info(container, video, path, lengths),
            chapters=len(container.chapters()) if hasattr(container, "chapters") else 0,
            metadata=dict(container.metadata),
            start=start,
        )
        if not measured:
            return media
        for packet in readable_packets(container, *measured):
            lengths.add(packet)
        return lengths.of(media)


def _measured_streams(
    measure: Literal["video", "audio"] | None, video: av.VideoStream | None, sounds: list[av.AudioStream]
) -> list[Any]:
    if measure == "video" and video is not None:
        return [video]
    return list(sounds) if measure == "audio" else []


def require_video(info: MediaInfo) -> VideoInfo:
    """The video stream; InputError when there is none."""
    if info.video is not None:
        return info.video
    if info.audio:
        has = f"only audio ({info.audio[0].codec})"
    else:
        others = ", ".join(map(str, info.other_streams))
        has = f"only {others}" if others else "nothing that can be decoded"
    raise InputError(f"{info.path.name} has no video stream, {has}.", hint="Give the video as the first argument.")


def require_audio(info: MediaInfo, stream: int = 0) -> AudioInfo:
    """Audio stream number ``stream`` (counted among the audio streams); InputError when there is none."""
    if stream < len(info.audio):
        return info.audio[stream]
    if info.audio:
        raise InputError(f"{info.path.name} has {len(info.audio)} audio streams, so there is no number {stream}.")
    has = f"only video ({info.video.codec})" if info.video else "nothing that can be decoded"
    raise InputError(f"{info.path.name} has no audio stream, {has}.", hint="Give a file with sound as AUDIO.")


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The file opened for reading, with every reason why it cannot be said in one sentence (InputError)."""
    check_readable(path)
    try:
        # "file:" keeps colons and leading dashes in names from meaning anything.
        container = av.open(f"file:{path.absolute()}", mode="r", metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise _unreadable(path, error) from error
    with container:
        if container.format.name in _NOT_MEDIA:
            raise _unreadable(path, None)
        yield container


def second_zero(container: av.container.InputContainer) -> Fraction:
    """The time stamp, in seconds, at which players begin: the earliest one, but encoder priming lies before it."""
    return max(Fraction(container.start_time or 0, av.time_base), Fraction(0))


def readable_packets(
    container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet[av.stream.Stream]]:
    """Packets of some streams from where the container stands, up to where it stops being readable."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def check_readable(path: Path) -> None:
    """InputError unless ``path`` is a file with something in it that may be read."""
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Check the name and the folder.")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a media file.", hint="Name one file in it.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user.", hint="Change its permissions.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes).", hint="Its download or recording failed; get it again.")


def _unreadable(path: Path, error: Exception | None) -> InputError:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"moov"):
        return InputError(
            f"{path.name} is incomplete: the index of the file (moov) is missing or damaged.",
            hint="Its recording or download was cut short; get it again, or repair it with a tool such as untrunc.",
        )
    if isinstance(error, av.error.InvalidDataError) or error is None:
        return InputError(
            f"{path.name} is not a video or audio file that can be read.",
            hint="Its content does not match any known media format, whatever its name says.",
        )
    return InputError(f"{path.name} cannot be read: {error.strerror if hasattr(error, 'strerror') else error}.")


def _decodable(stream: Any) -> bool:
    return getattr(stream, "codec_context", None) is not None


def codec_name(stream: Any) -> str:
    """The codec's own name: mp3, where PyAV names the decoder, mp3float. Empty when there is none."""
    context = getattr(stream, "codec_context", None)
    if context is None:
        return getattr(stream, "name", None) or ""  # streams of an unknown codec have no names at all
    return getattr(context.codec, "canonical_name", "") or context.name or ""


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _best_video(container: av.container.InputContainer) -> av.VideoStream | None:
    streams = [s for s in container.streams.video if _decodable(s) and s.width and s.height and not _is_cover(s)]
    best = container.streams.best("video")
    return best if best in streams else (streams[0] if streams else None)


def _video_info(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, lengths: StreamLengths
) -> VideoInfo:
    still = _is_still(container, stream)
    duration = stream.duration * stream.time_base if stream.duration and stream.time_base else None
    if duration is None and container.duration:
        duration = Fraction(container.duration, av.time_base)
    frame = _first_frame(container, stream, path, lengths)
    context = stream.codec_context
    time_base = Fraction(1, 25) if still else stream.time_base or Fraction(1, 90_000)
    start = frame.pts * time_base if frame.pts is not None and not still else Fraction(0)
    return VideoInfo(
        index=stream.index,
        codec=codec_name(stream),
        width=frame.width,
        height=frame.height,
        pix_fmt=frame.format.name,
        bit_depth=max((part.bits for part in frame.format.components), default=8),
        time_base=time_base,
        rate=STILL_RATE if still else _rate(stream),
        start=start,
        duration=None if still else duration,
        frames=1 if still else stream.frames or None,
        rotation=clockwise_rotation(frame),
        sample_aspect_ratio=_pixel_shape(stream),
        color=STILL_COLOR if still else color_info(frame, context),
        bit_rate=stream.bit_rate or None,
        is_still=still,
    )


def _is_still(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    name = container.format.name
    if name == "image2" or name.endswith("_pipe"):
        return True
    brand = container.metadata.get("major_brand", "").strip()
    return brand in _STILL_BRANDS and brand != "avis" and stream.frames <= 1


def _first_frame(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, lengths: StreamLengths
) -> av.VideoFrame:
    """The picture that comes first; the packets up to there go to ``lengths``, too."""
    try:
        for packet in container.demux(stream, *lengths.streams):
            lengths.add(packet)
            if packet.stream.index != stream.index:
                continue
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError:
                continue
            if frames:
                return frames[0]
    except av.error.FFmpegError:
        pass  # what could be read held no picture
    raise InputError(
        f"No frame of {path.name} can be decoded ({codec_name(stream)} {stream.width}×{stream.height}).",
        hint="The file is damaged or cut short; get it again.",
    )


def clockwise_rotation(frame: av.VideoFrame) -> int:
    """Clockwise degrees (0, 90, 180, 270) that bring a decoded frame upright, from its display matrix."""
    turned = getattr(frame, "rotation", 0)  # counter-clockwise, as av_display_rotation_get has it
    return round(-turned / 90) % 4 * 90


def _rate(stream: av.VideoStream) -> Fraction:
    guessed, average = stream.guessed_rate, stream.average_rate
    # For variable rates the guess is the finest spacing, which may be far from what is shown on average.
    rate = average if guessed and average and guessed > 2 * average else guessed or average or stream.base_rate
    return exact_rate(rate) if rate else STILL_RATE


def _pixel_shape(stream: av.VideoStream) -> Fraction:
    shape = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(shape) if shape and shape > 0 else Fraction(1)


def _audio_info(stream: av.AudioStream) -> AudioInfo:
    time_base = stream.time_base or Fraction(1, stream.codec_context.sample_rate)
    return AudioInfo(
        index=stream.index,
        codec=codec_name(stream),
        sample_rate=stream.codec_context.sample_rate,
        channels=stream.codec_context.layout.nb_channels,
        layout=stream.codec_context.layout.name,
        start=(stream.start_time or 0) * time_base,
        duration=stream.duration * time_base if stream.duration else None,
        bit_rate=stream.codec_context.bit_rate or None,
    )


def _other(stream: Any) -> OtherStream:
    is_cover = stream.type == "video" and _decodable(stream) and _is_cover(stream)
    return OtherStream(stream.index, str(stream.type), codec_name(stream), is_cover)
