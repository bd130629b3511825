"""What a user may set about finding, following and judging faces."""

from __future__ import annotations

from dataclasses import dataclass, field

from lipsync_cli.settings import DubSettings


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """Limits to what is dubbed.

    ``min_face_px`` is the least box width in display pixels; ``max_yaw`` is in quarter turns (0.55 is about 50°);
    a state must last ``hold_frames`` to be believed; with ``covered``, frames with something in front of the
    mouth are left out.
    """

    min_face_px: float = 48.0
    max_yaw: float = 0.55
    hold_frames: int = 3
    covered: bool = True

    def __post_init__(self) -> None:
        if self.min_face_px <= 0 or not 0 < self.max_yaw <= 1 or self.hold_frames < 1:
            raise ValueError(f"limits out of range: {self}")


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """How to track.

    ``lookahead_frames`` are awaited before a frame is handed on. Every ``detect_every`` frames (and at once when
    something is doubtful) faces are detected, on a picture whose longer side is ``detect_size`` px. While nothing
    changes away from the known faces, the detector is only shown the patch of each, and the whole picture is searched
    every fifth time or when it does not find one. So a newcomer is found within ``detect_every`` frames, or within
    five times as many where it comes in front of somebody known or changes next to nothing. A face not found for up
    to ``bridge_s`` seconds keeps its track; one that no detector confirms is given up after ``unconfirmed_s``.
    Beyond ``max_faces`` newcomers are ignored. A face that nothing
    hinders is read in every ``read_every``-th frame, within the look-ahead, and lies straight between in the rest.
    """

    lookahead_frames: int = 3
    detect_every: int = 5
    detect_size: int = 640
    bridge_s: float = 0.4
    unconfirmed_s: float = 2.0
    max_faces: int = 8
    read_every: int = 1
    quality: QualityOptions = field(default_factory=QualityOptions)

    def __post_init__(self) -> None:
        if self.lookahead_frames < 0 or self.detect_every < 1 or self.detect_size < 80 or self.max_faces < 1:
            raise ValueError(f"tracking options out of range: {self}")
        if not 1 <= self.read_every <= self.lookahead_frames + 1:
            raise ValueError(f"faces read every {self.read_every} frames need as much look-ahead: {self}")


def track_options(settings: DubSettings) -> TrackOptions:
    """How ``dub`` tracks faces under ``settings``; so does everything that has to see the frames that it sees."""
    return TrackOptions(
        lookahead_frames=settings.lookahead_frames,
        detect_every=settings.detect_every,
        detect_size=settings.detect_size,
        read_every=min(settings.read_every, settings.lookahead_frames + 1),
        quality=QualityOptions(
            min_face_px=settings.min_face_px, max_yaw=settings.max_yaw, covered=settings.spare_covered
        ),
    )
