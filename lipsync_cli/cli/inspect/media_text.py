"""A media file in words and as JSON."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lipsync_cli.core.timeline import format_time
from lipsync_cli.core.types import AudioInfo, ColorInfo, MediaInfo, VideoInfo


def media_document(info: MediaInfo) -> dict[str, Any]:
    """What ``probe`` found, as plain values."""
    return {
        "path": str(info.path),
        "container": info.container,
        "duration_s": _seconds(info.duration),
        "video": _video_document(info.video) if info.video else None,
        "audio": [_audio_document(audio) for audio in info.audio],
        "other_streams": [str(stream) for stream in info.other_streams],
        "chapters": info.chapters,
        "metadata": info.metadata,
    }


def media_lines(info: MediaInfo) -> list[str]:
    """What ``probe`` found, one line for each stream."""
    lasts = f", {format_time(info.duration)}" if info.duration is not None else ""
    lines = [f"{info.path}: {info.container}{lasts}"]
    if info.video:
        lines += [f"video: {_video_words(info.video)}", f"colour: {_color_words(info.video.color)}"]
    lines += [f"audio: {_audio_words(audio)}" for audio in info.audio]
    lines += [f"also: {stream}" for stream in info.other_streams]
    return lines + ([f"chapters: {info.chapters}"] if info.chapters else [])


def _video_words(video: VideoInfo) -> str:
    words = [f"{video.codec} {video.width}×{video.height}", f"{video.pix_fmt} ({video.bit_depth} bit)"]
    if video.is_still:
        words.append("still picture")
    else:
        words.append(f"{float(video.rate):g} fps")
    if video.frames and not video.is_still:
        words.append(f"{video.frames} frames")
    if video.rotation:
        words.append(f"turned {video.rotation}°")
    if video.sample_aspect_ratio != 1:
        words.append(f"pixels {video.sample_aspect_ratio.numerator}:{video.sample_aspect_ratio.denominator}")
    if video.display_size != (video.width, video.height):
        words.append("shown as {}×{}".format(*video.display_size))
    return ", ".join(words)


def _color_words(color: ColorInfo) -> str:
    tags = [tag for tag in (color.tag_primaries, color.tag_transfer) if tag]
    guessed = "" if color.tag_matrix else " (not tagged)"
    extent = "full range" if color.full_range else "limited range"
    return ", ".join([f"{color.matrix}{guessed}", extent, *tags])


def _audio_words(audio: AudioInfo) -> str:
    lasts = f", {format_time(audio.duration)}" if audio.duration is not None else ""
    return f"{audio.codec} {audio.sample_rate} Hz, {audio.layout}{lasts}"


def _video_document(video: VideoInfo) -> dict[str, Any]:
    return {
        "index": video.index,
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "display_width": video.display_size[0],
        "display_height": video.display_size[1],
        "rotation": video.rotation,
        "sample_aspect_ratio": str(video.sample_aspect_ratio),
        "pix_fmt": video.pix_fmt,
        "bit_depth": video.bit_depth,
        "rate": str(video.rate),
        "start_s": _seconds(video.start),
        "duration_s": _seconds(video.duration),
        "frames": video.frames,
        "bit_rate": video.bit_rate,
        "still": video.is_still,
        "color": _color_document(video.color),
    }


def _color_document(color: ColorInfo) -> dict[str, Any]:
    return {
        "matrix": color.matrix,
        "full_range": color.full_range,
        "tag_range": color.tag_range,
        "tag_matrix": color.tag_matrix,
        "tag_primaries": color.tag_primaries,
        "tag_transfer": color.tag_transfer,
    }


def _audio_document(audio: AudioInfo) -> dict[str, Any]:
    return {
        "index": audio.index,
        "codec": audio.codec,
        "sample_rate": audio.sample_rate,
        "channels": audio.channels,
        "layout": audio.layout,
        "start_s": _seconds(audio.start),
        "duration_s": _seconds(audio.duration),
        "bit_rate": audio.bit_rate,
    }


def _seconds(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), 6)
