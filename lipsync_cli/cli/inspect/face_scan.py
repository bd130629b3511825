"""Look through a video for shots and faces, and put what was found into rows, JSON and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from lipsync_cli.cli.progress import OnProgress
from lipsync_cli.core.contact_sheets import Thumbnail, face_sheet
from lipsync_cli.core.timeline import format_time
from lipsync_cli.core.types import FaceState, Frame, MediaInfo, TrackedFrame, UInt8, VideoInfo
from lipsync_cli.faces.detection import create_detector
from lipsync_cli.faces.numbering import Numbering
from lipsync_cli.faces.options import QualityOptions, TrackOptions
from lipsync_cli.faces.summary import ShotSummary, TrackSummary, summarise
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings

HEADER = ("face", "shot", "from", "to", "frames", "dubbable", "width", "yaw", "otherwise")
STILL_S = Fraction(1, 25)


@dataclass(frozen=True, slots=True)
class Survey:
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


def survey(
    info: MediaInfo,
    video: VideoInfo,
    settings: DubSettings,
    part: tuple[Fraction | None, Fraction | None],
    on_progress: OnProgress,
) -> Survey:
    """Track every face from ``part[0]`` to ``part[1]`` seconds. Holds thumbnails, no frames."""
    detector = create_detector(settings.detector, device="cpu" if settings.device == "auto" else settings.device)
    tracker = Tracker(video, detector, _options(settings))
    numbering = Numbering(tracker.identities)
    still = STILL_S if video.is_still else None
    with open_frames(info, start=part[0], end=part[1], still_duration=still, lazy_rgb=True) as frames:
        counted = _counted(frames, video.frames if part == (None, None) else None, on_progress)
        timed = _since_the_files_first(counted, video)
        shots = tuple(summarise(_numbered(tracker.run(timed), numbering), tracker))
    return Survey(shots, tuple(numbering.persons))


def _options(settings: DubSettings) -> TrackOptions:
    return TrackOptions(
        lookahead_frames=settings.lookahead_frames,
        detect_every=settings.detect_every,
        detect_size=settings.detect_size,
        quality=QualityOptions(min_face_px=settings.min_face_px, max_yaw=settings.max_yaw),
    )


def _counted(frames: Iterable[Frame], total: int | None, on_progress: OnProgress) -> Iterator[Frame]:
    for done, frame in enumerate(frames, 1):
        on_progress(done, total)
        yield frame


def _since_the_files_first(frames: Iterable[Frame], video: VideoInfo) -> Iterator[Frame]:
    """Times as ``--start`` and ``--end`` have them, whatever part is read."""
    first = round(video.start / video.time_base)
    for frame in frames:
        yield replace(frame, first_pts=first)


def _numbered(tracked: Iterable[TrackedFrame], numbering: Numbering) -> Iterator[TrackedFrame]:
    """Pass frames on and number the persons in them."""
    for item in tracked:
        numbering.meet(item)
        yield item


def track_rows(found: Survey) -> list[tuple[str, ...]]:
    """One row per track, for people."""
    return [
        (
            _face(found.number(track)),
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


def face_picture(found: Survey) -> UInt8:
    """The faces with their numbers, RGB uint8 ``[h w 3]``."""
    return face_sheet(
        [
            Thumbnail(
                track.thumbnail,
                (
                    f"face {_face(found.number(track))}  shot {track.shot}  {track.width_px:.0f} px",
                    f"{track.first:.2f}-{track.last:.2f} s  {track.share(FaceState.OK):.0%} ok",
                ),
            )
            for track in found.tracks
            if track.thumbnail.size
        ]
    )


def survey_document(found: Survey) -> dict[str, Any]:
    """Shots and tracks as plain values."""
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


def _face(number: int | None) -> str:
    return "?" if number is None else str(number)


def _hindrances(track: TrackSummary) -> str:
    """What keeps the other frames from being dubbed: ``profile 12%``."""
    states = [state for state in FaceState if state != FaceState.OK and track.share(state) > 0]
    return ", ".join(f"{state} {track.share(state):.0%}" for state in states)
