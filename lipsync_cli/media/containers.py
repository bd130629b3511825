"""What each output container takes: one table, so that no other module knows file types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.core.errors import UsageError

_TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
_PCM = frozenset(
    {"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_u8", "pcm_s16be", "pcm_s24be", "pcm_s32be"}
)
_LOSSY = frozenset({"aac", "mp3", "ac3", "eac3"})


@dataclass(frozen=True, slots=True)
class Container:
    """One output format, in ffmpeg's names.

    ``video`` lists encoders, the default first; ``audio`` the codecs that are copied as they are; other audio is
    encoded with ``audio_encoder``. ``subtitles`` names the codec that text subtitles become (empty: they are left
    out) and ``bitmaps`` the picture subtitles that are copied. ``exact_times``: time stamps are kept exactly, not
    rounded to the container's clock.
    """

    name: str
    muxer: str
    video: tuple[str, ...]
    audio: frozenset[str]
    audio_encoder: str
    subtitles: str = ""
    bitmaps: frozenset[str] = frozenset()
    attachments: bool = False
    variable_rate: bool = True

    @property
    def is_mp4_family(self) -> bool:
        """Whether the file is made of MP4/QuickTime boxes."""
        return self.muxer in ("mp4", "mov")

    def subtitle_codec(self, codec: str) -> str:
        """What a subtitle stream of ``codec`` is written as: a codec, "copy", or empty when it must be left out."""
        if codec in self.bitmaps:
            return "copy"
        if codec not in _TEXT_SUBTITLES or not self.subtitles:
            return ""
        styled = self.muxer == "matroska" and codec in ("ass", "ssa")
        return "copy" if styled or codec == self.subtitles else self.subtitles


_X = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4")
_MP4 = Container("mp4", "mp4", _X, _LOSSY | {"alac", "opus", "flac"}, "aac", "mov_text")
_MOV = Container(
    "mov", "mov", ("libx264", "libx265", "prores_ks", "mpeg4"), _LOSSY | _PCM | {"alac"}, "aac", "mov_text"
)
_MKV = Container(
    "mkv",
    "matroska",
    (*_X, "ffv1", "prores_ks"),
    _LOSSY
    | (_PCM - {"pcm_s16be", "pcm_s24be", "pcm_s32be"})
    | {"alac", "opus", "flac", "vorbis", "dts", "mp2", "truehd"},
    "flac",
    "subrip",
    frozenset({"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}),
    attachments=True,
)
_WEBM = Container("webm", "webm", ("libvpx-vp9", "libsvtav1"), frozenset({"opus", "vorbis"}), "libopus", "webvtt")
_TS = Container(
    "mpegts", "mpegts", ("libx264", "libx265"), _LOSSY | {"mp2", "opus"}, "aac", "", frozenset({"dvb_subtitle"})
)
_AVI = Container(
    "avi",
    "avi",
    ("mpeg4", "libx264", "ffv1"),
    frozenset({"mp3", "ac3", "mp2", "pcm_s16le", "pcm_u8", "pcm_s24le"}),
    "pcm_s16le",
    variable_rate=False,
)
BY_SUFFIX = {
    ".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM, ".ts": _TS, ".m2ts": _TS, ".avi": _AVI,
}  # fmt: skip
BY_NAME = {container.name: container for container in BY_SUFFIX.values()}
STREAMABLE = ("mp4", "mpegts", "mkv")


def container_for(target: Path | str, name: str | None = None) -> Container:
    """The container for an output: by ``name`` if given, else by the file's extension; MP4 for ``-``.

    Raises UsageError for one that is not known, and for ``-`` with one that needs a file to seek in.
    """
    if name is not None and name not in BY_NAME:
        raise UsageError(f"{name} is not a container that can be written.", hint=f"Known are {', '.join(BY_NAME)}.")
    if str(target) == "-":
        if name is not None and name not in STREAMABLE:
            raise UsageError(f"{name} cannot be streamed to stdout.", hint=f"Use {', '.join(STREAMABLE)}.")
        return BY_NAME[name or "mp4"]
    if name is not None:
        return BY_NAME[name]
    suffix = Path(target).suffix.lower()
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    said = f"the extension {suffix}" if suffix else "a name without an extension"
    raise UsageError(
        f"The container of {Path(target).name} is not known: {said} says nothing.",
        hint=f"End the output's name in {', '.join(BY_SUFFIX)}.",
    )
