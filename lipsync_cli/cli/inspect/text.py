"""What ``lipsync inspect`` shows to people: a line for each stream, a row for each face."""

from __future__ import annotations

from lipsync_cli.core.timeline import format_time
from lipsync_cli.core.types import AudioInfo, ColorInfo, FaceState, MediaInfo, VideoInfo
from lipsync_cli.faces.summary import TrackSummary
from lipsync_cli.inspection import FaceScan, face_label

HEADER = ("face", "shot", "from", "to", "frames", "dubbable", "width", "yaw", "otherwise")


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


def track_rows(found: FaceScan) -> list[tuple[str, ...]]:
    """One row per track, under ``HEADER``."""
    return [
        (
            face_label(found.number(track)),
            str(track.shot),
            format_time(track.first),
            format_time(track.last),
            str(track.frames),
            f"{track.share(FaceState.OK):.0%}",
            f"{track.width_px:.0f} px",
            f"{track.yaw[0]:+.2f} … {track.yaw[1]:+.2f}",
            _hindrances(track),
        )
        for track in found.tracks
    ]


def _hindrances(track: TrackSummary) -> str:
    """What keeps the other frames from being dubbed: ``profile 12%``."""
    states = [state for state in FaceState if state != FaceState.OK and track.share(state) > 0]
    return ", ".join(f"{state} {track.share(state):.0%}" for state in states)
