"""Real people: that crops keep still, faces are found, and talking is not taken for hiding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.types import FaceState, Frame, TrackedFrame, VideoInfo
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.crop_jitter import corner_jitter
from tests.helpers.paths import SAMPLES

PORTRAIT = SAMPLES / "portrait.mp4"
TALKING = [
    "clips/resyncer_page/set_1__driving.mp4",
    "clips/sadtalker_ref/WDA_KatieHill_000.mp4",
    "clips/video_retalking/face_4.mp4",
    "clips/pcavs_voxceleb2/Audio_Source_00015.mp4",
    "clips/oels_cospeech/E1_A_FG_BL.mp4",
]


def decode(path: Path, count: int) -> tuple[VideoInfo, list[Frame]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        info = VideoInfo(
            index=0,
            codec="h264",
            width=stream.width,
            height=stream.height,
            pix_fmt="yuv420p",
            bit_depth=8,
            time_base=stream.time_base,
            rate=stream.average_rate,
            start=Fraction(0),
        )
        frames = []
        for i, picture in enumerate(container.decode(stream)):
            if i == count:
                break
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
            frames.append(Frame(i, picture.pts, picture.time_base, (), "yuv420p", rgb))
    return info, frames


def run(info: VideoInfo, frames: list[Frame]) -> list[TrackedFrame]:
    return list(Tracker(info, create_reader("dlib"), TrackOptions()).run(iter(frames)))


def noisy(still: Frame, count: int) -> Iterator[Frame]:
    """The same picture again and again, with sensor noise and compressed anew each time."""
    rng = np.random.default_rng(0)
    for i in range(count):
        grainy = np.clip(still.rgb + rng.normal(0, 3, still.rgb.shape), 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", grainy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        rgb = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        yield Frame(i, i, Fraction(1, 25), (), "rgb24", rgb)


def test_crops_of_a_still_face_do_not_swim() -> None:
    info, frames = decode(PORTRAIT, 1)
    tracked = run(info, list(noisy(frames[0], 24)))
    width = tracked[0].faces[0].width_px
    calm = corner_jitter([item.faces[0].landmarks for item in tracked], LOWER_FACE) * 250 / width
    assert calm < 0.3


def test_portrait_is_tracked_throughout() -> None:
    info, frames = decode(PORTRAIT, 50)
    tracked = run(info, frames)
    assert {item.shot for item in tracked} == {0}
    assert [[(face.track_id, face.state) for face in item.faces] for item in tracked] == [[(0, FaceState.OK)]] * 50


@pytest.mark.clips
@pytest.mark.slow
@pytest.mark.parametrize("name", TALKING)
def test_people_who_talk_are_dubbed(clips: Path, name: str) -> None:
    tracked = run(*decode(clips / name, 125))
    states = Counter(face.state for item in tracked for face in item.faces)
    assert {item.shot for item in tracked} == {0}
    assert {face.track_id for item in tracked for face in item.faces} == {0}
    assert states[FaceState.OK] >= 0.97 * len(tracked)


@pytest.mark.clips
@pytest.mark.slow
def test_two_clips_in_a_row_are_two_shots_and_two_people(clips: Path) -> None:
    info, first = decode(clips / TALKING[1], 20)
    _, second = decode(clips / "clips/sadtalker_ref/WDA_EdMarkey0_000.mp4", 20)
    frames = [
        Frame(i, i, Fraction(1, 25), (), "rgb24", shown.rgb) for i, shown in enumerate([*first, *second, *first])
    ]
    tracker = Tracker(info, create_reader("dlib"))
    tracked = list(tracker.run(iter(frames)))
    assert [item.shot for item in tracked] == [0] * 20 + [1] * 20 + [2] * 20
    assert [tracker.identities.person(track_id) for track_id in range(3)] == [0, 1, 0]


@pytest.mark.clips
@pytest.mark.slow
def test_microphone_before_the_mouth_is_noticed(clips: Path) -> None:
    info, frames = decode(clips / TALKING[1], 70)
    clear = run(info, frames)
    shown = []
    for item in clear:
        rgb = item.frame.rgb.copy()
        if item.frame.index >= 50:
            face = item.faces[0]
            x, y = face.landmarks[48:].mean(0).astype(int).tolist()
            size = (int(0.17 * face.width_px), int(0.22 * face.width_px))
            cv2.ellipse(rgb, (x, y + size[1] // 2), size, 0, 0, 360, (35, 35, 38), -1)
        shown.append(Frame(item.frame.index, item.frame.pts, item.frame.time_base, (), "rgb24", rgb))
    states = [{face.state for face in item.faces} for item in run(info, shown)]
    assert states[:50] == [{FaceState.OK}] * 50
    assert all(FaceState.OK not in state for state in states[50:])
