"""What is in a file: its streams, its shots, and the faces to choose from, found as ``dub`` finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from lipsync_cli.core.contact_sheets import Thumbnail, face_sheet
from lipsync_cli.core.types import (
    AudioInfo,
    ColorInfo,
    FaceState,
    Frame,
    MediaInfo,
    TrackedFrame,
    UInt8,
    VideoInfo,
)
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.numbering import Numbering
from lipsync_cli.faces.options import track_options
from lipsync_cli.faces.summary import ShotSummary, TrackSummary, summarise
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.media.probe import require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings

SCHEMA = 1
STILL_S = Fraction(1, 25)
OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class FaceScan:
    """The shots of a video, and the persons in the order by which ``--face`` numbers them."""

    shots: tuple[ShotSummary, ...]
    persons: tuple[int, ...]

    @property
    def tracks(self) -> list[TrackSummary]:
        """All tracks, shot by shot."""
        return [track for shot in self.shots for track in shot.tracks]

    def number(self, track: TrackSummary) -> int | None:
        """What to give to ``--face`` for this track's person; None for one that cannot be told."""
        return self.persons.index(track.person) if track.person in self.persons else None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file's streams, and what was found in its picture; ``faces`` is None where nobody looked."""

    media: MediaInfo
    faces: FaceScan | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as ``lipsync inspect --json`` writes them."""
        found = {} if self.faces is None else _faces_document(self.faces)
        return {"schema": SCHEMA, **_media_document(self.media), **found}


def scan_faces(
    info: MediaInfo,
    settings: DubSettings,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> FaceScan:
    """Track every face from ``start`` to ``end`` seconds as ``dub`` does. Holds thumbnails, no frames.

    Times count from the file's first frame, whatever part is read. Raises InputError for a file without a picture.
    """
    video = require_video(info)
    device = "cpu" if settings.device == "auto" else settings.device
    reader = create_reader(settings.detector, device=device, samples=settings.landmark_samples)
    tracker = Tracker(video, reader, track_options(settings))
    numbering = Numbering(tracker.identities)
    still = STILL_S if video.is_still else None
    total = video.frames if start is end is None else None
    with open_frames(info, start=start, end=end, still_duration=still, lazy_rgb=True) as frames:
        timed = _since_the_files_first(_counted(frames, total, on_progress), video)
        shots = tuple(summarise(_numbered(tracker.run(timed), numbering), tracker))
    return FaceScan(shots, tuple(numbering.persons))


def _counted(frames: Iterable[Frame], total: int | None, on_progress: OnProgress) -> Iterator[Frame]:
    for done, frame in enumerate(frames, 1):
        on_progress(done, total)
        yield frame


def _since_the_files_first(frames: Iterable[Frame], video: VideoInfo) -> Iterator[Frame]:
    """Times as ``--start`` and ``--end`` have them."""
    first = round(video.start / video.time_base)
    for frame in frames:
        yield replace(frame, first_pts=first)


def _numbered(tracked: Iterable[TrackedFrame], numbering: Numbering) -> Iterator[TrackedFrame]:
    """Pass frames on and number the persons in them."""
    for item in tracked:
        numbering.meet(item)
        yield item


def face_picture(found: FaceScan) -> UInt8:
    """The faces with their numbers, RGB uint8 ``[h w 3]``."""
    return face_sheet(
        [
            Thumbnail(
                track.thumbnail,
                (
                    f"face {face_label(found.number(track))}  shot {track.shot}  {track.width_px:.0f} px",
                    f"{track.first:.2f}-{track.last:.2f} s  {track.share(FaceState.OK):.0%} ok",
                ),
            )
            for track in found.tracks
            if track.thumbnail.size
        ]
    )


def face_label(number: int | None) -> str:
    """A person's number for people; a question mark for one that cannot be told."""
    return "?" if number is None else str(number)


def _faces_document(found: FaceScan) -> dict[str, Any]:
    return {
        "shots": [
            {
                "shot": shot.shot,
                "start_s": shot.first,
                "end_s": shot.last,
                "frames": shot.frames,
                "without_face": shot.without_face,
            }
            for shot in found.shots
        ],
        "tracks": [_track_document(track, found.number(track)) for track in found.tracks],
    }


def _track_document(track: TrackSummary, face: int | None) -> dict[str, Any]:
    spans = [
        {"state": str(span.state), "start_s": span.first, "end_s": span.last, "frames": span.frames}
        for span in track.spans
    ]
    return {
        "track": track.track_id,
        "shot": track.shot,
        "face": face,
        "start_s": track.first,
        "end_s": track.last,
        "frames": track.frames,
        "dubbable": track.share(FaceState.OK),
        "width_px": track.width_px,
        "yaw": list(track.yaw),
        "best_s": track.best_time,
        "box": list(track.box),
        "states": spans,
    }


def _media_document(info: MediaInfo) -> dict[str, Any]:
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
