"""The values that travel between stages: frozen, checked when made, and printed as shapes rather than pixels.

Three coordinate systems occur. *Storage* pixels are the decoded planes as the file holds them. *Display* pixels
are what a viewer sees: upright (rotation applied) and square (sample aspect ratio applied); faces are found and
tracked there. *Crop* pixels belong to the aligned face crop. ``VideoInfo.to_display`` and ``Alignment`` hold the
affine maps between them, so that pixels are only ever resampled once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from lipsync_cli.core.crop_templates import CropTemplate

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

SPEECH_RATE = 16_000
"""Samples per second of speech, wherever a network gets it."""
MEL_RATE = 100
"""Log-mel rows per second of speech, everywhere."""


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """Colour tags in ffmpeg's words; None where the file does not say. ``matrix`` is always resolved.

    ``matrix``: one of bt709, bt601, bt2020, rgb (bt601 stands for smpte170m, bt470bg and their like).
    """

    matrix: str = "bt709"
    full_range: bool = False
    tag_range: str | None = None
    tag_matrix: str | None = None
    tag_primaries: str | None = None
    tag_transfer: str | None = None


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video stream as the container declares it. Sizes are in storage pixels.

    ``measured``: seconds from the first frame to the end of the last, where ``probe`` was asked to read all packets.
    """

    index: int
    codec: str
    width: int
    height: int
    pix_fmt: str
    bit_depth: int
    time_base: Fraction
    rate: Fraction
    start: Fraction
    duration: Fraction | None = None
    frames: int | None = None
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    color: ColorInfo = field(default_factory=ColorInfo)
    bit_rate: int | None = None
    is_still: bool = False
    measured: Fraction | None = None

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a video stream must have a size, got {self.width}×{self.height}")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation is clockwise degrees in 0, 90, 180, 270; got {self.rotation}")

    @property
    def display_size(self) -> tuple[int, int]:
        """Width and height of the upright, square-pixel picture; the stored height (before rotation) is kept."""
        width, height = max(1, round(self.width * self.sample_aspect_ratio)), self.height
        return (height, width) if self.rotation in (90, 270) else (width, height)

    @property
    def to_display(self) -> Float64:
        """Affine ``[2 3]`` map from storage to display pixel centres."""
        sx = max(1, round(self.width * self.sample_aspect_ratio)) / self.width
        # x' + ½ = sx·(x + ½) puts the outer edges of both pictures on top of each other.
        scaled = np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, 1.0, 0.0]])
        w, h = max(1, round(self.width * self.sample_aspect_ratio)), self.height
        turn = {
            0: np.array([[1.0, 0, 0], [0, 1, 0]]),
            90: np.array([[0.0, -1, h - 1], [1, 0, 0]]),
            180: np.array([[-1.0, 0, w - 1], [0, -1, h - 1]]),
            270: np.array([[0.0, 1, 0], [-1, 0, w - 1]]),
        }[self.rotation]
        return np.column_stack([turn[:, :2] @ scaled[:, :2], turn[:, :2] @ scaled[:, 2] + turn[:, 2]])


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """One audio stream as the container declares it.

    ``measured``: seconds from the file's second 0 to the stream's end, where ``probe`` was asked to read all packets
    and they have times.
    """

    index: int
    codec: str
    sample_rate: int
    channels: int
    layout: str
    start: Fraction
    duration: Fraction | None = None
    bit_rate: int | None = None
    measured: Fraction | None = None


@dataclass(frozen=True, slots=True)
class OtherStream:
    """A stream beside the best picture and the sound; ``kind`` is video, subtitle, attachment, data …"""

    index: int
    kind: str
    codec: str = ""
    is_cover: bool = False

    def __str__(self) -> str:
        """``subtitle (mov_text)``."""
        kind = "cover art" if self.is_cover else self.kind
        return f"{kind} ({self.codec})" if self.codec else kind


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What ``probe`` found in a file. ``video`` is the best video stream, cover art excluded.

    ``start`` is the earliest time stamp in seconds; encoder priming makes it negative.
    """

    path: Path
    container: str
    duration: Fraction | None
    video: VideoInfo | None
    audio: tuple[AudioInfo, ...]
    other_streams: tuple[OtherStream, ...] = ()
    chapters: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    start: Fraction = Fraction(0)

    @property
    def second_zero(self) -> Fraction:
        """The time stamp, in seconds, at which players begin: priming lies before it."""
        return max(self.start, Fraction(0))


class RgbView(Protocol):
    """RGB of a picture of ``width`` × ``height`` pixels, made only where it is read. Arrays are contiguous."""

    width: int
    height: int

    def whole(self) -> UInt8:
        """All of it, ``[h w 3]``."""

    def around(self, box: tuple[int, int, int, int], step: int) -> tuple[UInt8, int, int]:
        """At least ``box`` (x0, y0, x1, y1), and the x and y of its first pixel, which are multiples of ``step``."""

    def thinned(self, step: int) -> UInt8:
        """Every ``step``-th pixel of every ``step``-th row, with chroma of its vicinity."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    ``planes`` hold it exactly as stored: contiguous uint8, or uint16 for more than 8 bits, each ``[h w]`` with
    chroma planes subsampled as ``pix_fmt`` says, in ffmpeg's plane order. They are what the sink writes, so a
    frame that nobody touches is written bit for bit. ``rgb`` is its look for analysis in storage orientation, uint8
    ``[h w 3]``, contiguous, or a view that gives it; None once the crops are cut. ``pts`` counts ``time_base`` units
    on the file's own clock, ``first_pts`` is that of the first frame of the same source.
    """

    index: int
    pts: int
    time_base: Fraction
    planes: tuple[Plane, ...]
    pix_fmt: str
    rgb: UInt8 | RgbView | None = None
    first_pts: int = 0

    @property
    def time(self) -> Fraction:
        """Presentation time in seconds after the source's first frame, which is second 0 of a dub."""
        return (self.pts - self.first_pts) * self.time_base

    @property
    def file_time(self) -> Fraction:
        """Presentation time in seconds on the file's own clock, which its sound shares."""
        return self.pts * self.time_base

    def without_rgb(self) -> Frame:
        """The same frame with the analysis view let go."""
        return replace(self, rgb=None)

    def __repr__(self) -> str:
        shapes = " ".join("×".join(map(str, plane.shape)) for plane in self.planes)
        return f"Frame(index={self.index}, time={float(self.time):.4f}, {self.pix_fmt} {shapes})"


@dataclass(frozen=True, slots=True)
class AudioSpan:
    """Consecutive samples, float32 ``[channels n]`` in [−1, 1]; ``start`` in samples from the track's beginning."""

    samples: Float32
    sample_rate: int
    start: int


class FaceState(StrEnum):
    """Whether a face can be dubbed in a frame and, if not, why it passes through untouched."""

    OK = "ok"
    MISSING = "missing"
    TOO_SMALL = "too-small"
    CUT_OFF = "cut-off"
    PROFILE = "profile"
    COVERED = "covered"
    NOT_CHOSEN = "not-chosen"


@dataclass(frozen=True, slots=True)
class Face:
    """One tracked face in one frame, in display pixels.

    ``box`` is x0, y0, x1, y1; ``landmarks`` ``[68 2]`` float64 are smoothed over time; ``yaw`` is about −1 …
    1 (0 frontal, ± 1 full profile); ``score`` is the detector's.
    """

    track_id: int
    box: Box
    landmarks: Float64
    score: float
    yaw: float
    state: FaceState

    def __post_init__(self) -> None:
        if self.landmarks.shape != (68, 2):
            raise ValueError(f"landmarks must be [68 2], got {self.landmarks.shape}")

    @property
    def width_px(self) -> float:
        """Width of the box in display pixels."""
        return self.box[2] - self.box[0]


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """A frame with the faces in it. ``shot`` counts cuts from 0; tracks never span two shots."""

    frame: Frame
    shot: int
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where a crop lies: ``matrix`` ``[2 3]`` maps storage pixels to the pixels of a ``size`` × ``size`` crop."""

    matrix: Float64
    size: int


@dataclass(frozen=True, slots=True)
class Crop:
    """An aligned face: RGB uint8 ``[s s 3]``, where it was cut, and its 68 landmarks in crop pixels."""

    rgb: UInt8
    alignment: Alignment
    landmarks: Float64

    @property
    def enlargement(self) -> float:
        """Pixels of the crop for one of the picture."""
        (a, b), (c, d) = self.alignment.matrix[:, :2].tolist()
        return float(abs(a * d - b * c) ** 0.5)


@dataclass(frozen=True, slots=True)
class GeneratedCrop:
    """What a generator made of a crop: RGB float32 ``[s s 3]`` in [0, 1].

    ``rgb`` is an array; only a model that was asked to (``LipSyncModel.leave_on_device``) leaves it in its
    device's memory, finished, as a torch tensor. ``jaw`` ``[9 2]`` is where landmarks 4 … 12 were drawn, in crop
    pixels; None if the generator does not know.
    """

    rgb: Float32 | Tensor
    jaw: Float64 | None = None

    def on_host(self) -> Float32:
        """``rgb`` as an array, copied from the device if that is where it is."""
        return self.rgb if isinstance(self.rgb, np.ndarray) else np.asarray(self.rgb.cpu().numpy(), np.float32)


@dataclass(frozen=True, slots=True)
class Patch:
    """A drawing on its way back to the ``source`` crop it replaces.

    ``weight`` in [0, 1] fades the whole patch, for the hand-over between dubbed and untouched frames.
    """

    drawing: GeneratedCrop
    source: Crop
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a generator needs and holds; the pipeline's buffers and its latency follow from it.

    ``template`` says how faces are cut out, or is the name of one of ``core.crop_templates``;
    ``first_chunk_frames`` and ``chunk_frames`` say how many crops a ``step`` takes; ``reference_frames`` are seen by
    ``begin``; audio is read from ``audio_before_s`` before the first to ``audio_after_s`` after the last frame of a
    chunk, as ``audio`` wants it.

    A model with a frame ``rate`` of its own has chunks that are counted on its clock, which starts with the
    segment: a chunk then takes the crops that fall into its time, however many those are. Without one the video's
    frames are counted. ``reference_frames`` 0 means that ``begin`` needs none. ``whole_audio`` asks for all of the
    track with every chunk, which rules out streaming. The drawings of a generator that looks ahead at pictures come
    up to ``lag_frames`` after their crops.
    """

    name: str
    template: CropTemplate | str
    crop_size: int
    first_chunk_frames: int
    chunk_frames: int
    reference_frames: int
    audio_before_s: Fraction
    audio_after_s: Fraction
    audio: Literal["mel", "waveform"] = "mel"
    rate: Fraction | None = None
    whole_audio: bool = False
    lag_frames: int = 0
    details: dict[str, Any] = field(default_factory=dict)
