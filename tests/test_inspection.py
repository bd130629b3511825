"""What inspect finds is what a dub sees: the same tracker, told the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.types import AudioSpan
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.picture_dubber import PictureDubber
from lipsync_cli.dubbing.plan import plan_picture
from lipsync_cli.dubbing.profiling import StageClock
from lipsync_cli.engines.passthrough import Passthrough
from lipsync_cli.inspection import Inspection, scan_faces
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import resolve_settings
from tests.helpers.paths import SAMPLES
from tests.helpers.synthetic import run_ffmpeg

FRAMES, COVERED = 110, range(90, 105)
"""A mouth is judged once 40 frames were read; the realtime preset reads every other."""


@pytest.fixture(scope="module")
def covered_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait at half size, with a green box in front of the mouth for a while."""
    path = tmp_path_factory.mktemp("covered") / "covered.mp4"
    when = f"between(n,{COVERED.start},{COVERED.stop - 1})"
    box = f"scale=240:240,drawbox=x=95:y=112:w=55:h=35:color=0x30a040:t=fill:enable='{when}'"
    run_ffmpeg(
        "-i", str(SAMPLES / "portrait.mp4"), "-an", "-vf", box, "-frames:v", str(FRAMES),
        "-c:v", "libx264", "-crf", "14", str(path),
    )  # fmt: skip
    return path


def states_of_a_dub(path: Path, settings) -> list[str]:
    """The state of the one face in every frame, as the dub's own path has it."""
    info = probe(path)
    picture = plan_picture(settings)
    speech = SpeechTrack(iter([AudioSpan(np.zeros((1, 16_000), np.float32), 16_000, 0)]))
    model = LoadedModel(picture, "cpu", Passthrough())
    with PictureDubber(picture, require_video(info)) as dubber, open_frames(info, lazy_rgb=True) as frames:
        return [str(face.state) for slot, _ in dubber.run(frames, model, speech, StageClock()) for face in slot.faces]


@pytest.mark.parametrize(
    ("preset", "changes", "some_covered"),
    [("realtime", {}, True), ("quality", {}, True), ("balanced", {"spare_covered": False}, False)],
)
def test_scan_sees_what_a_dub_sees(covered_mp4, preset, changes, some_covered):
    settings = resolve_settings(preset, {"model": "passthrough", "face": "all", **changes}, environ={}).settings
    found = scan_faces(probe(covered_mp4), settings)
    (track,) = found.tracks
    scanned = [str(span.state) for span in track.spans for _ in range(span.frames)]
    assert scanned == states_of_a_dub(covered_mp4, settings)
    assert (len(scanned), "covered" in scanned) == (FRAMES, some_covered)


def test_inspection_is_plain_data(head_mp4):
    settings = resolve_settings("realtime", {}, environ={}).settings
    info = probe(head_mp4)
    document = Inspection(info, scan_faces(info, settings)).to_json()
    assert json.loads(json.dumps(document)) == document
    assert [track["face"] for track in document["tracks"]] == [0]
    assert "tracks" not in Inspection(info).to_json()
