"""What a dub says of itself is what happened: frames are counted where they come in and where they go out."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.dubbing import picture_dubber
from lipsync_cli.dubbing.model import LoadedModel, load_model
from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.dubbing.plan import plan
from lipsync_cli.media.probe import probe
from lipsync_cli.synthetic import write_voice
from tests.dubbing.test_plan import request_for
from tests.helpers.grey_model import Grey
from tests.helpers.synthetic import make_video


class GreyUntil(Grey):
    """Draws in the crops whose time lies before ``until`` seconds."""

    def __init__(self, until: Fraction) -> None:
        super().__init__()
        self._until = until

    def step(self, state, chunk):
        drawings = super().step(state, chunk)
        return [drawing if time < self._until else None for drawing, time in zip(drawings, chunk.times, strict=True)]


def dubbed_with(generator, request):
    planned = plan(request)
    return dub(planned, LoadedModel(planned.picture, "cpu", generator))


def test_report_counts_frames_where_they_come_in_and_where_they_go_out(head_mp4, voice_wav, tmp_path):
    report = dubbed_with(Grey(), request_for(head_mp4, voice_wav, tmp_path / "out.mp4"))
    assert (report.frames_in, report.frames_out, report.frames_dubbed) == (50, 50, 50)
    assert probe(tmp_path / "out.mp4").video.frames == report.output.frames == 50
    assert report.warnings == ()


def test_report_shows_a_frame_that_was_lost(head_mp4, voice_wav, tmp_path, monkeypatch):
    really = picture_dubber.select

    def losing(tracked, *rest):
        for item in really(tracked, *rest):
            if item.frame.index != 7:
                yield item

    monkeypatch.setattr(picture_dubber, "select", losing)
    report = dubbed_with(Grey(), request_for(head_mp4, voice_wav, tmp_path / "out.mp4"))
    assert (report.frames_in, report.frames_out, report.output.frames) == (50, 49, 49)
    assert report.warnings == (
        "50 frames were read and 49 written; please report this with the output of lipsync doctor.",
    )


def test_report_of_a_cut_counts_what_was_delivered_up_to_it(head_mp4, voice_wav, tmp_path):
    changes = {"settings": {"length": "audio"}, "end": Fraction(1)}
    half = tmp_path / "half.wav"
    write_voice(half, 0.6)
    report = dubbed_with(Grey(), request_for(head_mp4, half, tmp_path / "out.mp4", **changes))
    assert (report.frames_in, report.frames_out, report.frames_dubbed) == (15, 15, 15)
    assert report.warnings == ("The picture was cut to 0.60 s.",)


def test_report_counts_as_dubbed_only_what_was_changed(head_mp4, voice_wav, tmp_path):
    request = request_for(head_mp4, voice_wav, tmp_path / "out.mp4")
    report = dubbed_with(GreyUntil(Fraction(1)), request)
    assert (report.frames_out, report.frames_dubbed, report.passed_through) == (50, 25, {"unchanged": 25})
    assert [(span.reason, span.track, span.end_s) for span in report.spans] == [("dubbed", 0, 1), ("unchanged", 0, 2)]
    assert report.tracks[0].dubbed == 25


def test_dub_by_a_model_that_changes_nothing_is_no_error_but_said(head_mp4, voice_wav, tmp_path):
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4"))
    report = dub(planned, load_model(planned.picture))
    assert (report.frames_dubbed, report.passed_through) == (0, {"unchanged": 50})
    assert report.warnings == ("No frame was changed: 50 show a face to dub, and it was left as it was.",)
    assert (tmp_path / "out.mp4").is_file()


def test_dub_without_a_face_is_an_error(voice_wav, tmp_path):
    scenery = make_video(tmp_path / "scenery.mp4", frames=10)
    with pytest.raises(NoFaceError, match=r"in the 10 frames of scenery\.mp4 \(10 missing"):
        dubbed_with(Grey(), request_for(scenery, voice_wav, tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()
