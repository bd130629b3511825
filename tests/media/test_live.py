"""Output to stdout, run as a program, because only a program has a stdout of its own."""

from __future__ import annotations

import subprocess
import sys

import av
import pytest

from lipsync_cli.media.containers import container_names

LIVE = """
import sys
from fractions import Fraction
from lipsync_cli.media.containers import container_for
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack
from lipsync_cli.media.video import open_frames
info = probe(sys.argv[1])
options = EncodeOptions(preset="ultrafast", low_latency=True)
dub = DubTrack(probe(sys.argv[4])) if len(sys.argv) > 4 else None
with open_frames(info, bounce_until=Fraction(sys.argv[3])) as frames:
    with FrameSink("-", info, options=options, container=container_for("-", sys.argv[2])) as sink:
        for frame in frames:
            sink.write(frame)
print(sink.frames_written, sink.reader_left, file=sys.stderr)
"""


def live(*args) -> list[str]:
    return [sys.executable, "-c", LIVE, *map(str, args)]


@pytest.mark.parametrize("container", container_names(streamable=True))
def test_stdout_carries_every_frame(each_ffmpeg, clips, tmp_path, container):
    done = subprocess.run(live(clips / "plain.mp4", container, 2), capture_output=True, check=True)
    (tmp_path / "live").write_bytes(done.stdout)
    with av.open(str(tmp_path / "live")) as stream:
        assert sum(1 for _ in stream.decode(video=0)) == 50
    assert done.stderr.split() == [b"50", b"False"]


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_a_reader_that_leaves_is_a_clean_end(each_ffmpeg, clips, container):
    process = subprocess.Popen(
        live(clips / "plain.mp4", container, 10_000), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.read(2000)
    process.stdout.close()
    assert process.wait(timeout=300) == 0
    with process.stderr:
        assert process.stderr.read().split()[-1] == b"True"
