"""The container that docs/containers.md adds, added as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.media import containers
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack
from tests.helpers.documentation import DOCS, blocks
from tests.helpers.synthetic import make_video
from tests.helpers.written import QUICK, frames_of, write


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> containers.Container:
    """The row of the page."""
    names = {"Container": containers.Container}
    exec(blocks(DOCS / "containers.md", "python")[0].text, names)
    monkeypatch.setattr(containers, "CONTAINERS", (*containers.CONTAINERS, names["FLV"]))
    return names["FLV"]


def test_row_is_all_that_a_new_container_needs(added, voice_wav, tmp_path: Path):
    source, target = make_video(tmp_path / "in.mp4"), tmp_path / "out.flv"
    assert containers.container_for(target) is added is containers.container_for("-x", "flv")
    frames, sink = write(source, target, dub=DubTrack(probe(voice_wav)), options=QUICK)
    made = probe(target)
    assert (made.container, made.video.codec, made.audio[0].codec, sink.warnings) == ("flv", "h264", "aac", ())
    assert len(frames_of(target)) == len(frames)
    with pytest.raises(UsageError, match="flv cannot be streamed"):
        containers.container_for("-", "flv")
