"""Which encoder, pixel format and options a picture is encoded with. Pure but for asking ffmpeg what it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, PixelFormat, pixel_format
from lipsync_cli.core.types import ColorInfo, VideoInfo
from lipsync_cli.media.containers import Container
from lipsync_cli.media.ffmpeg import Ffmpeg
from lipsync_cli.media.pixels import decoded_format, without_j
from lipsync_cli.settings import X264Preset

Arguments = dict[str, str]
PRESETS: tuple[str, ...] = get_args(X264Preset)
_DEFAULT_CRF = {"libx264": 16, "libx264rgb": 16, "libx265": 18, "libvpx-vp9": 24, "libsvtav1": 22}
_NEEDS_EVEN = {"libx264", "libx265", "libsvtav1", "prores_ks"}
# x264's superfast does without giving more bits to what later frames refer to. That saves it no time, and a dub, in
# which little moves, would be 1.4 to 2 times as large. A second and third B-frame in a row, and small blocks, take a
# quarter of its time and give back a twentieth of the size on still pictures and nothing on moving ones.
_SUPERFAST = {"mbtree": "1", "rc-lookahead": "10", "bf": "1", "partitions": "none"}
_PACKED_RGB = {"libx264rgb": "rgb24", "ffv1": "bgr0"}


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How the picture is encoded.

    ``codec``: auto (the container's usual one), libx264, libx265, libvpx-vp9, libsvtav1, ffv1, prores_ks or mpeg4.
    ``crf``: quality, lower is better; None is each codec's visually lossless value. ``preset``: speed in x264's
    words, mapped for the others. ``pix_fmt`` overrides the source's. ``lossless`` where the codec can.
    ``low_latency``: no look-ahead, no B-frames, a key frame every half second.
    """

    codec: str = "auto"
    crf: int | None = None
    preset: str = "medium"
    pix_fmt: str | None = None
    lossless: bool = False
    low_latency: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"{self.preset} is not an encoder preset.", hint=f"Use one of {', '.join(PRESETS)}.")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"The crf must be in 0 … 63, got {self.crf}.")


@dataclass(frozen=True, slots=True)
class VideoEncoding:
    """A decision: frames go through the pipe as ``piped`` and are encoded by ``encoder`` as ``pix_fmt``."""

    encoder: str
    piped: str
    pix_fmt: str
    arguments: Arguments
    warnings: tuple[str, ...] = ()


def choose_encoding(ffmpeg: Ffmpeg, container: Container, info: VideoInfo, options: EncodeOptions) -> VideoEncoding:
    """Encoder and pixel format for frames of ``info`` in ``container``.

    The source's pixel format is kept if the encoder takes it. Raises UsageError for a codec that the container does
    not take, EnvironmentProblem for one that this ffmpeg lacks.
    """
    delivered = without_j(decoded_format(info))
    wanted = options.pix_fmt or delivered
    encoder = _encoder(ffmpeg, container, wanted, options)
    piped, pix_fmt, warnings = _formats(ffmpeg, encoder, info, delivered, wanted)
    arguments = {"c:v": encoder, **_codec_arguments(encoder, container, pix_fmt, info.rate, options)}
    if encoder in container.codec_tags:
        arguments["tag:v"] = container.codec_tags[encoder]
    if pix_fmt != piped:
        arguments |= _conversion(piped, pix_fmt)
    arguments |= color_arguments(info.color, pix_fmt)
    return VideoEncoding(encoder, piped, pix_fmt, arguments, warnings)


def _encoder(ffmpeg: Ffmpeg, container: Container, wanted: str, options: EncodeOptions) -> str:
    if options.codec != "auto" and options.codec not in container.video:
        raise UsageError(
            f"{container.name} files are not written with {options.codec}.",
            hint=f"Use one of {', '.join(container.video)}, or another extension.",
        )
    encoder = container.video[0] if options.codec == "auto" else options.codec
    rgb8 = wanted in PIXEL_FORMATS and PIXEL_FORMATS[wanted].is_rgb and PIXEL_FORMATS[wanted].depth == 8
    if encoder == "libx264" and rgb8 and "libx264rgb" in ffmpeg.encoders:
        return "libx264rgb"
    ffmpeg.require_encoder(encoder)
    return encoder


def _formats(
    ffmpeg: Ffmpeg, encoder: str, info: VideoInfo, delivered: str, wanted: str
) -> tuple[str, str, tuple[str, ...]]:
    """What goes through the pipe, what is encoded, and sentences about differences from the source."""
    taken = ffmpeg.pixel_formats(encoder) or ("yuv420p",)
    if delivered == "gbrp" and wanted == "gbrp" and encoder in _PACKED_RGB:
        return delivered, _PACKED_RGB[encoder], ()
    warnings = []
    target = wanted if wanted in taken else nearest_taken(wanted, taken)
    if target != wanted:
        warnings.append(f"{encoder} does not take {wanted}, so the picture is encoded as {target}.")
    piped = delivered
    if encoder in _NEEDS_EVEN and target in PIXEL_FORMATS and _is_odd(info, PIXEL_FORMATS[target]):
        whole = target.replace("420", "444").replace("422", "444")
        if whole not in taken:
            raise UsageError(
                f"{encoder} cannot encode {info.width}×{info.height}, which is odd, with {target}.",
                hint="Use libx264, libvpx-vp9 or ffv1, or another size.",
            )
        warnings.append(
            f"{info.width}×{info.height} is odd, so {encoder} encodes it with full-size chroma ({whole}), which some "
            "players do not show; every pixel is kept."
        )
        piped = delivered.replace("420", "444").replace("422", "444")
        target = whole
    return piped, target, tuple(warnings)


def _is_odd(info: VideoInfo, fmt: PixelFormat) -> bool:
    return bool(info.width % fmt.chroma[0] or info.height % fmt.chroma[1])


def nearest_taken(wanted: str, taken: tuple[str, ...]) -> str:
    """The format among ``taken`` that loses least of ``wanted``: first no RGB change, then chroma, then depth."""
    fmt = pixel_format(wanted) if wanted in PIXEL_FORMATS else pixel_format("yuv420p")
    known = [PIXEL_FORMATS[name] for name in taken if name in PIXEL_FORMATS and not name.startswith("yuvj")]
    if not known:
        return taken[0]
    return min(known, key=_loss_from(fmt)).name


def _loss_from(fmt: PixelFormat) -> Callable[[PixelFormat], tuple[int, ...]]:
    def loss(other: PixelFormat) -> tuple[int, ...]:
        area, other_area = (a.chroma[0] * a.chroma[1] for a in (fmt, other))
        lost_color = fmt.planes > other.planes
        return (
            int(lost_color),
            int(fmt.is_rgb and not other.is_rgb) + int(other.is_rgb and not fmt.is_rgb),
            max(0, other_area - area) if fmt.planes == 3 else 0,
            max(0, fmt.depth - other.depth),
            max(0, other.depth - fmt.depth),
            abs(other_area - area) if fmt.planes == 3 else -other_area,
        )

    return loss


def _conversion(piped: str, pix_fmt: str) -> Arguments:
    if pixel_format(piped).is_rgb and pix_fmt in PIXEL_FORMATS and not PIXEL_FORMATS[pix_fmt].is_rgb:
        return {"vf": f"scale=out_color_matrix=bt709:out_range=tv,format={pix_fmt}"}
    return {"pix_fmt": pix_fmt}


def color_arguments(color: ColorInfo, pix_fmt: str) -> Arguments:
    """Options that tag a stream (or, before -i, the raw frames) with the colours of the source."""
    is_yuv = pix_fmt.startswith(("yuv", "gray"))
    was_rgb = color.matrix == "rgb"
    matrix = color.tag_matrix if is_yuv and not was_rgb else "bt709" if is_yuv else "rgb"
    # Always said: what is left open, versions of ffmpeg fill in differently (gray even as full range).
    full = "pc" if color.full_range and not (was_rgb and is_yuv) else "tv"
    tags = {
        "colorspace": matrix,
        "color_primaries": color.tag_primaries,
        "color_trc": color.tag_transfer,
        "color_range": full,
    }
    return {key: value for key, value in tags.items() if value}


def _codec_arguments(
    encoder: str, container: Container, pix_fmt: str, rate: Fraction, options: EncodeOptions
) -> Arguments:
    crf = str(_DEFAULT_CRF.get(encoder, 0) if options.crf is None else options.crf)
    # A half-second group keeps a viewer who has just joined waiting no longer than that.
    group = {"g": str(max(1, round(rate / 2)))} if options.low_latency else {}
    speed = PRESETS.index(options.preset)
    if encoder in ("libx264", "libx264rgb"):
        quality = {"qp": "0"} if options.lossless else {"crf": crf}
        live = {"tune": "zerolatency"} if options.low_latency else {}
        frames = {"bf": "0"} if not container.variable_rate else {}
        tuned = _SUPERFAST if options.preset == "superfast" and not options.low_latency else {}
        return {"preset": options.preset, **tuned, **quality, **live, **group, **frames}
    if encoder == "libx265":
        lossless = ":lossless=1" if options.lossless else ""
        live = {"tune": "zerolatency"} if options.low_latency else {}
        params = {"x265-params": f"log-level=error{lossless}"}
        return {"preset": options.preset, "crf": crf, **params, **live, **group}
    if encoder == "libvpx-vp9":
        quality = {"lossless": "1"} if options.lossless else {"crf": crf, "b:v": "0"}
        live = {"deadline": "realtime", "lag-in-frames": "0"} if options.low_latency else {"deadline": "good"}
        return {**quality, **live, **group, "cpu-used": str(max(0, 8 - speed)), "row-mt": "1"}
    if encoder == "libsvtav1":
        return {"crf": crf, "preset": str(max(2, 12 - speed)), **group}
    if encoder == "prores_ks":
        return {"profile:v": "4" if "444" in pix_fmt else "3", "vendor": "apl0"}
    return {"level": "3", "g": "1", "slicecrc": "1"} if encoder == "ffv1" else {"q:v": "2"}
