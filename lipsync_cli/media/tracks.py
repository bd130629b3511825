"""The audio and the other tracks of the output: what is copied, what is encoded, what must be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.core.types import AudioInfo, MediaInfo
from lipsync_cli.media.containers import Container
from lipsync_cli.media.ffmpeg import Ffmpeg
from lipsync_cli.media.probe import require_audio

Arguments = dict[str, str]
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
_OPUS_LAYOUTS = "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
_HARMLESS = ("title", "artist", "author", "album", "copyright", "description", "genre", "show", "date", "year")


@dataclass(frozen=True, slots=True)
class DubTrack:
    """The dub: audio stream number ``stream`` of ``media`` (an audio or video file).

    ``start`` seconds are cut from its beginning, exact to the sample, for which it must be encoded again.
    ``duration``: what comes later is cut at packet granularity when copied, else exact. ``language`` is a tag
    such as "eng".
    """

    media: MediaInfo
    stream: int = 0
    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SourceTracks:
    """The source's other tracks: its audio (after the dub), subtitles, chapters, attachments and metadata.

    ``start`` and ``duration`` are seconds after the first video frame: the part of the source that is dubbed.
    """

    media: MediaInfo
    start: Fraction = Fraction(0)
    duration: Fraction | None = None


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """Streams of one more input file of ffmpeg: ``-map`` selectors, and options before ``-i`` and for the output."""

    path: Path
    before: Arguments
    selectors: tuple[str, ...]
    output: Arguments
    warnings: tuple[str, ...] = ()


def plan_dub(ffmpeg: Ffmpeg, container: Container, dub: DubTrack) -> TrackPlan:
    """How the dub gets into ``container``: copied when it takes the codec and nothing is cut from the beginning."""
    info = require_audio(dub.media, dub.stream)
    output, before = {"disposition:a:0": "default"}, {}
    if not dub.start and info.codec in container.audio:
        output["c:a:0"] = "copy"
        before = {} if dub.duration is None else {"t": _seconds(dub.duration)}
    else:
        output |= audio_arguments(ffmpeg, container, info, 0)
        filters = [*_cut(dub), *filter(None, [output.get("filter:a:0")])]
        output |= {"filter:a:0": ",".join(filters)} if filters else {}
    if dub.media.start < 0:
        # ffmpeg moves a file's earliest stamp to 0; priming before 0 must stay there.
        before["itsoffset"] = _seconds(dub.media.start)
    return TrackPlan(dub.media.path, before, (f"{info.index}",), output)


def _cut(dub: DubTrack) -> list[str]:
    """Filters that cut exactly, after decoding from the very beginning: seeking is not exact in every format."""
    end = "" if dub.duration is None else f"end={_seconds(dub.start + dub.duration)}"
    if not dub.start:
        return [f"atrim={end}"] if end else []
    start = _seconds(dub.start)
    return [f"atrim=start={start}" + (f":{end}" if end else ""), f"asetpts=PTS-{start}/TB"]


def audio_arguments(ffmpeg: Ffmpeg, container: Container, info: AudioInfo, number: int) -> Arguments:
    """Options that encode output audio stream ``number`` transparently, with the source's rate and channels."""
    encoder = container.audio_encoder
    if encoder == "libopus" and encoder not in ffmpeg.encoders:
        encoder = "libvorbis"
    if encoder not in ffmpeg.encoders:
        raise EnvironmentProblem(
            f"This ffmpeg cannot encode audio for {container.name} files ({encoder} is missing).",
            hint="Choose another output container, or install a full build of ffmpeg.",
        )
    arguments = {f"c:a:{number}": encoder}
    if encoder == "aac":
        # Two thirds of what the coder could use at most, and never more than anyone can hear.
        bits = min(160_000, 4 * info.sample_rate) * info.channels
        arguments[f"b:a:{number}"] = str(bits)
        if info.sample_rate not in _AAC_RATES:
            arguments[f"ar:a:{number}"] = "48000"
    elif encoder == "libopus":
        arguments[f"b:a:{number}"] = str(min(510_000, 96_000 * info.channels))
        if info.sample_rate not in _OPUS_RATES:
            arguments[f"ar:a:{number}"] = "48000"
        shapes = [_OPUS_LAYOUTS] if info.channels > 2 else []
        # Old versions write Opus in Matroska early by what it codes ahead, 6.5 ms.
        shapes += ["asetpts=PTS+0.0065/TB"] if ffmpeg.version < (6,) else []
        if shapes:
            arguments[f"filter:a:{number}"] = ",".join(shapes)
    elif encoder == "libvorbis":
        arguments[f"q:a:{number}"] = "7"
    if not container.variable_rate:
        # Without time stamps, a late start must be filled.
        arguments[f"filter:a:{number}"] = "aresample=async=1:first_pts=0"
    return arguments


def plan_source(ffmpeg: Ffmpeg, container: Container, tracks: SourceTracks, index: int, dubbed: bool) -> TrackPlan:
    """How the source's other tracks follow; ``index`` is its place among ffmpeg's inputs."""
    media = tracks.media
    selectors, output = [], dict[str, str]()
    for number, audio in enumerate(media.audio, start=int(dubbed)):
        selectors.append(str(audio.index))
        copied = audio.codec in container.audio
        output |= {f"c:a:{number}": "copy"} if copied else audio_arguments(ffmpeg, container, audio, number)
        output[f"disposition:a:{number}"] = "0" if number else "default"
    others, codecs, warnings = _other_tracks(container, media)
    output |= {**codecs, "map_metadata": str(index), "map_chapters": str(index), "copypriorss": "0"}
    # Times of the file, counted as players do; the output's second 0 is the first frame of the part.
    begin = tracks.start + ((media.video.start - media.second_zero) if media.video else 0)
    before = {"ss": _seconds(begin)} if begin > 0 else {}
    if tracks.duration is not None:
        before["t"] = _seconds(tracks.duration)
    # A selector that matches nothing keeps the input, and with it chapters and metadata.
    return TrackPlan(media.path, before, (*selectors, *others, "d:999?"), output, warnings)


def _other_tracks(container: Container, media: MediaInfo) -> tuple[list[str], Arguments, tuple[str, ...]]:
    """Selectors and codecs of the subtitles and attachments that ``container`` takes, and what it does not."""
    selectors, codecs, warnings, subtitles = [], dict[str, str](), [], 0
    for stream in media.other_streams:
        if stream.kind == "subtitle":
            target = container.subtitle_codec(stream.codec)
            if target:
                selectors.append(str(stream.index))
                codecs[f"c:s:{subtitles}"] = target
                subtitles += 1
            else:
                warnings.append(f"{stream.codec} subtitles cannot be kept in {container.name} files.")
        elif stream.kind == "attachment":
            if container.attachments:
                selectors.append(str(stream.index))
                codecs["c:t"] = "copy"
            else:
                warnings.append(f"An attachment cannot be kept in {container.name} files.")
    return selectors, codecs, tuple(warnings)


def harmless_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags that describe the work and neither a place, a device nor a person's recording."""
    lowered = {key.lower(): value for key, value in metadata.items()}
    return {key: lowered[key] for key in _HARMLESS if lowered.get(key)}


def _seconds(value: Fraction) -> str:
    """Microseconds are what ffmpeg's own clock counts."""
    return f"{float(value):.6f}"
