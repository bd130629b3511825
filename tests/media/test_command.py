from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.core.types import ColorInfo, VideoInfo
from lipsync_cli.media.command import MuxCommand
from lipsync_cli.media.containers import Container, container_for
from lipsync_cli.media.encode import EncodeOptions, choose_encoding, nearest_taken
from lipsync_cli.media.ffmpeg import Ffmpeg
from lipsync_cli.media.tracks import TrackPlan, harmless_metadata

X264 = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gray", "gray10le")


class FakeFfmpeg(Ffmpeg):
    """Knows its abilities without being run."""

    def __init__(self, version=(7, 1), encoders=("libx264", "libx264rgb", "libvpx-vp9", "aac")) -> None:
        super().__init__(Path("ffmpeg"), version)
        self.__dict__["encoders"] = frozenset(encoders)

    def pixel_formats(self, encoder):
        return {"libx264": X264, "libx264rgb": ("bgr0", "bgr24", "rgb24")}.get(encoder, ("yuv420p",))


def video(**changes) -> VideoInfo:
    values = {
        "index": 0, "codec": "h264", "width": 64, "height": 48, "pix_fmt": "yuv420p", "bit_depth": 8,
        "time_base": Fraction(1, 30000), "rate": Fraction(30000, 1001), "start": Fraction(0),
        "color": ColorInfo("bt709", False, "tv", "bt709", "bt709", "bt709"),
    }  # fmt: skip
    return VideoInfo(**{**values, **changes})


def named(name: str) -> Container:
    return container_for("x", name)


def words(info=None, version=(7, 1), name="mp4", **changes) -> list[str]:
    info, fake = info or video(), FakeFfmpeg(version)
    encoding = choose_encoding(fake, named(name), info, EncodeOptions())
    command = MuxCommand(
        "ffmpeg", version, named(name), "file:/o/out.part", info, encoding, info.time_base, **changes
    )
    return command.words()


def value_after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_the_command_is_exact_about_time_and_colour():
    command = words()
    assert command[0] == "ffmpeg"
    assert command[-1] == "file:/o/out.part"
    assert value_after(command, "-f") == "nut"
    assert value_after(command, "-enc_time_base:v") == "1:30000"
    assert value_after(command, "-video_track_timescale") == "30000"
    assert value_after(command, "-fps_mode:v") == "passthrough"
    # Said of the raw frames and of the result, so that nothing is converted between them.
    assert command.count("-colorspace") == command.count("-color_range") == 2
    assert "-vf" not in command
    assert "-pix_fmt" not in command


def test_older_versions_get_their_own_words():
    assert value_after(words(version=(4, 4)), "-vsync") == "passthrough"
    turned = video(rotation=90)
    assert value_after(words(turned), "-display_rotation:v:0") == "-90"
    assert "-noautorotate" in words(turned)
    assert "-display_rotation:v:0" not in words(turned, version=(5, 1))


def test_streams_and_metadata_are_numbered_as_mapped():
    both = {
        "dub": TrackPlan(Path("/a/same file.mp4"), {}, ("1",), {"c:a:0": "copy"}),
        "source": TrackPlan(Path("/a/same file.mp4"), {}, ("1", "2"), {"c:a:1": "copy", "map_chapters": "2"}),
    }
    command = words(**both, metadata={"comment": "a=b 'c'"}, language="deu")
    inputs = [command[i + 1] for i, word in enumerate(command) if word == "-i"]
    maps = [command[i + 1] for i, word in enumerate(command) if word == "-map"]
    assert inputs == ["pipe:0", "file:/a/same file.mp4", "file:/a/same file.mp4"]
    assert maps == ["0:v:0", "1:1", "2:1", "2:2"]
    assert value_after(command, "-metadata") == "comment=a=b 'c'"
    assert value_after(command, "-metadata:s:a:0") == "language=deu"
    assert "use_metadata_tags" not in value_after(command, "-movflags")
    assert "use_metadata_tags" in value_after(words(metadata={"lipsync_model": "x"}), "-movflags")


def test_pixel_formats_are_kept_or_the_loss_is_said():
    mp4 = named("mp4")
    for pix_fmt in ("yuv420p", "yuv420p10le", "yuv444p", "gray"):
        assert choose_encoding(FakeFfmpeg(), mp4, video(pix_fmt=pix_fmt), EncodeOptions()).pix_fmt == pix_fmt
    twelve = choose_encoding(FakeFfmpeg(), mp4, video(pix_fmt="yuv422p12le"), EncodeOptions())
    assert twelve.pix_fmt == "yuv422p10le"
    assert twelve.arguments["pix_fmt"] == "yuv422p10le"
    assert "does not take yuv422p12le" in twelve.warnings[0]
    rgb = choose_encoding(FakeFfmpeg(), mp4, video(pix_fmt="gbrp", color=ColorInfo("rgb", True)), EncodeOptions())
    assert (rgb.encoder, rgb.warnings) == ("libx264rgb", ())
    odd = choose_encoding(FakeFfmpeg(), mp4, video(width=65), EncodeOptions())
    assert (odd.piped, odd.pix_fmt) == ("yuv444p", "yuv444p")
    assert "odd" in odd.warnings[0]


def test_the_nearest_format_keeps_colour_before_chroma_before_depth():
    assert nearest_taken("gray", ("yuv420p", "yuv444p")) == "yuv420p"
    assert nearest_taken("yuv444p12le", ("yuv444p", "yuv420p12le")) == "yuv444p"
    assert nearest_taken("yuv420p10le", ("yuv420p", "yuv422p10le", "yuv444p10le")) == "yuv422p10le"
    assert nearest_taken("gbrp10le", ("yuv420p", "yuv444p10le", "gray")) == "yuv444p10le"


def test_superfast_keeps_its_look_ahead_unless_it_has_to_be_live():
    def arguments(**options):
        return choose_encoding(FakeFfmpeg(), named("mp4"), video(), EncodeOptions(**options)).arguments

    assert arguments(preset="superfast").items() >= {"mbtree": "1", "rc-lookahead": "10", "bf": "1"}.items()
    assert "mbtree" not in arguments(preset="superfast", low_latency=True)
    assert "mbtree" not in arguments(preset="veryfast")


def test_codecs_that_do_not_fit_or_exist_are_said():
    with pytest.raises(UsageError, match="webm files are not written with libx264"):
        choose_encoding(FakeFfmpeg(), named("webm"), video(), EncodeOptions(codec="libx264"))
    with pytest.raises(EnvironmentProblem, match="libx265"):
        choose_encoding(FakeFfmpeg(), named("mp4"), video(), EncodeOptions(codec="libx265"))
    with pytest.raises(UsageError, match="preset"):
        EncodeOptions(preset="quick")


def test_only_harmless_metadata_is_taken_along():
    assert harmless_metadata({"TITLE": "A", "location": "+40-074/", "com.apple.quicktime.model": "x"}) == {
        "title": "A"
    }
