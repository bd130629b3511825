"""What each output container takes: one row of one table each, so that nothing else knows file types.

Adding a container is adding a ``Container`` to ``CONTAINERS``; ``tests/media/test_containers.py`` then writes files
in it and reads them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipsync_cli.core.errors import UsageError
from lipsync_cli.media.rotation import write_rotation

Options = Mapping[str, str]
_TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Container:
    """One output format, in ffmpeg's names; all but the first six fields say what is special about it.

    Streams: ``video`` lists encoders, the default first; ``audio`` the codecs that are copied as they are, while
    other audio is encoded with ``audio_encoder``. ``subtitles`` names the codec that text subtitles become (empty:
    they are left out), except ``subtitles_copied``; ``bitmaps`` are the picture subtitles that are copied.
    ``codec_tags``: what players expect an encoder's stream to be called.

    Times: without ``variable_rate`` frames come at one rate and have no stamps. ``timescale_option`` sets the clock
    of a muxer that would choose a coarse one.

    Pictures: ``rotation`` says whether a display matrix can be stored, ``write_rotation`` puts it into a finished
    file where ffmpeg is too old to.

    Muxing: ``options`` always apply, ``file_options`` or ``live_options`` by whether it goes to a file or a pipe, and
    ``free_metadata`` where a tag is not among ``metadata_keys`` (empty: all are alike). Values of one option given
    twice are flags and add up. ``streamable``: it can be read while it is written.
    """

    name: str
    suffixes: tuple[str, ...]
    muxer: str
    video: tuple[str, ...]
    audio: frozenset[str]
    audio_encoder: str
    subtitles: str = ""
    subtitles_copied: frozenset[str] = _NONE
    bitmaps: frozenset[str] = _NONE
    attachments: bool = False
    codec_tags: Options = field(default_factory=dict)
    variable_rate: bool = True
    timescale_option: str = ""
    rotation: bool = False
    write_rotation: Callable[[Path, int], bool] | None = None
    streamable: bool = False
    options: Options = field(default_factory=dict)
    file_options: Options = field(default_factory=dict)
    live_options: Options = field(default_factory=dict)
    metadata_keys: frozenset[str] = _NONE
    free_metadata: Options = field(default_factory=dict)

    def subtitle_codec(self, codec: str) -> str:
        """What a subtitle stream of ``codec`` is written as: a codec, "copy", or empty when it must be left out."""
        if codec in self.bitmaps:
            return "copy"
        if codec not in _TEXT_SUBTITLES or not self.subtitles:
            return ""
        return "copy" if codec in {self.subtitles, *self.subtitles_copied} else self.subtitles

    def muxer_options(self, metadata: Iterable[str] = (), *, live: bool = False) -> dict[str, str]:
        """The muxer's options for a file, or a pipe if ``live``, with tags named ``metadata``."""
        layers = [self.options, self.live_options if live else self.file_options]
        if self.metadata_keys and any(key not in self.metadata_keys for key in metadata):
            layers.append(self.free_metadata)
        merged: dict[str, str] = {}
        for layer in layers:
            for option, value in layer.items():
                merged[option] = f"{merged[option]}+{value}" if option in merged else value
        return merged


_PCM = frozenset(
    {"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_u8", "pcm_s16be", "pcm_s24be", "pcm_s32be"}
)
_LOSSY = frozenset({"aac", "mp3", "ac3", "eac3"})
_X = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4")
# Audio priming lies before second 0; moving everything instead would delay the first frame.
_PRIMING_BEFORE_ZERO = {"avoid_negative_ts": "disabled"}

_MP4 = Container(
    "mp4",
    (".mp4", ".m4v"),
    "mp4",
    _X,
    _LOSSY | {"alac", "opus", "flac"},
    "aac",
    subtitles="mov_text",
    codec_tags={"libx265": "hvc1"},
    timescale_option="video_track_timescale",
    rotation=True,
    write_rotation=write_rotation,
    streamable=True,
    options={"strict": "-2"},  # FLAC in MP4 counted as experimental for long
    file_options={"movflags": "faststart"},
    live_options={"movflags": "frag_keyframe+delay_moov+default_base_moof"},
    # Any other key needs the free-form list, which fewer players read.
    metadata_keys=frozenset(
        {
            "title", "artist", "album_artist", "album", "comment", "description", "genre", "date", "copyright",
            "composer", "grouping", "lyrics", "synopsis", "show", "track",
        }
    ),
    free_metadata={"movflags": "use_metadata_tags"},
)  # fmt: skip

CONTAINERS: tuple[Container, ...] = (
    _MP4,
    replace(
        _MP4,
        name="mov",
        suffixes=(".mov",),
        muxer="mov",
        video=("libx264", "libx265", "prores_ks", "mpeg4"),
        audio=_LOSSY | _PCM | {"alac"},
        streamable=False,
    ),
    Container(
        "mkv",
        (".mkv",),
        "matroska",
        (*_X, "ffv1", "prores_ks"),
        _LOSSY
        | (_PCM - {"pcm_s16be", "pcm_s24be", "pcm_s32be"})
        | {"alac", "opus", "flac", "vorbis", "dts", "mp2", "truehd"},
        "flac",
        subtitles="subrip",
        subtitles_copied=frozenset({"ass", "ssa"}),
        bitmaps=frozenset({"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}),
        attachments=True,
        rotation=True,
        streamable=True,
        options=_PRIMING_BEFORE_ZERO,
    ),
    Container(
        "webm", (".webm",), "webm", ("libvpx-vp9", "libsvtav1"), frozenset({"opus", "vorbis"}), "libopus",
        subtitles="webvtt", rotation=True, options=_PRIMING_BEFORE_ZERO,
    ),
    Container(
        "mpegts", (".ts", ".m2ts"), "mpegts", ("libx264", "libx265"), _LOSSY | {"mp2", "opus"}, "aac",
        bitmaps=frozenset({"dvb_subtitle"}), streamable=True, options={"muxdelay": "0", "muxpreload": "0"},
    ),
    Container(
        "avi", (".avi",), "avi", ("mpeg4", "libx264", "ffv1"),
        frozenset({"mp3", "ac3", "mp2", "pcm_s16le", "pcm_u8", "pcm_s24le"}), "pcm_s16le", variable_rate=False,
    ),
)  # fmt: skip


def container_names(*, streamable: bool = False) -> list[str]:
    """The containers that can be written, or only those that can go to a pipe."""
    return [container.name for container in CONTAINERS if container.streamable or not streamable]


def container_of_suffix(suffix: str) -> Container | None:
    """The container of files whose names end in ``suffix``, such as ``.MP4``."""
    return next((container for container in CONTAINERS if suffix.lower() in container.suffixes), None)


def container_for(target: Path | str, name: str | None = None) -> Container:
    """The container for an output: by ``name`` if given, else by its extension; for ``-`` the first streamable one.

    Raises UsageError for one that is not known, and for ``-`` with one that needs a file to seek in.
    """
    live = str(target) == "-"
    if name is None and not live:
        return _by_extension(Path(target))
    known = container_names()
    name = container_names(streamable=True)[0] if name is None else name
    if name not in known:
        raise UsageError(f"{name} is not a container that can be written.", hint=f"Known are {', '.join(known)}.")
    streamable = container_names(streamable=True)
    if live and name not in streamable:
        raise UsageError(f"{name} cannot be streamed to stdout.", hint=f"Use {', '.join(streamable)}.")
    return next(container for container in CONTAINERS if container.name == name)


def _by_extension(path: Path) -> Container:
    suffix = path.suffix.lower()
    if container := container_of_suffix(suffix):
        return container
    given = f"the extension {suffix}" if suffix else "a name without an extension"
    known = [suffix for container in CONTAINERS for suffix in container.suffixes]
    raise UsageError(
        f"The container of {path.name} is not known: {given} says nothing.",
        hint=f"End the output's name in {', '.join(known)}.",
    )
