"""The container that docs/containers.md adds, added by nothing but its row."""

from __future__ import annotations

from pathlib import Path

from lipsync_cli import dub
from lipsync_cli.media import containers
from lipsync_cli.media.containers import Container, container_for
from lipsync_cli.media.probe import probe
from tests.helpers.documentation import DOCS, blocks
from tests.helpers.grey_model import grey_model


def test_row_of_the_page_is_all_that_a_new_container_needs(head_mp4, voice_wav, tmp_path: Path, monkeypatch):
    added: Container = eval(blocks(DOCS / "containers.md", "python")[0].text, {"Container": Container})
    monkeypatch.setattr(containers, "CONTAINERS", (*containers.CONTAINERS, added))
    target = tmp_path / f"out{added.suffixes[0]}"
    assert container_for(target) is container_for("-", added.name) is added
    report = dub(head_mp4, voice_wav, target, model=grey_model(), end=0.6, encoder_preset="ultrafast")
    made = probe(target)
    assert (made.container, made.video.codec, made.audio[0].codec) == ("flv", "h264", "aac")
    assert report.frames_out == report.frames_dubbed == 15
