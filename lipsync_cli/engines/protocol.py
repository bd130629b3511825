"""What every model is: crops in, as many crops out, with all per-segment state owned by the caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np

from lipsync_cli.core.types import Crop, Float32, GeneratedCrop, ModelSpec

S = TypeVar("S")
Watch = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class MelSpan:
    """Log-mel rows ``[n 80]``; row i is centred on ``(first + i) / 100`` seconds of the dub track."""

    rows: Float32
    first: int


@dataclass(frozen=True, slots=True)
class WaveSpan:
    """Mono speech ``[n]`` at 16 kHz; sample i is number ``first + i`` of the dub track.

    Only samples that exist: a span that was asked for across the track's beginning or end is shorter.
    """

    samples: Float32
    first: int


NO_MEL = MelSpan(np.zeros((0, 80), np.float32), 0)
NO_WAVE = WaveSpan(np.zeros(0, np.float32), 0)


@dataclass(frozen=True, slots=True)
class CropChunk:
    """Consecutive crops of one face in one segment.

    ``times`` are seconds on the dub track's clock, one per crop, increasing; the audio, ``mel`` or ``wave`` as
    ``spec.audio`` says, covers from ``spec.audio_before_s`` before the first to ``spec.audio_after_s`` after the
    last of them; ``silence`` is 1 where nobody speaks and 0 where somebody does, with soft edges, one per crop.
    """

    crops: tuple[Crop, ...]
    times: tuple[Fraction, ...]
    mel: MelSpan
    silence: Float32
    wave: WaveSpan = NO_WAVE

    def __post_init__(self) -> None:
        if not len(self.crops) == len(self.times) == len(self.silence):
            raise ValueError(
                f"a chunk needs one time and one silence value per crop, got {len(self.crops)} crops, "
                f"{len(self.times)} times, {len(self.silence)} silence values"
            )


class LipSyncModel(ABC, Generic[S]):
    """Writes the lower face of aligned crops so that it speaks the dub.

    Weights live in the model, per-segment state in ``S``. A segment is a run of frames of one face without a cut or
    a gap; ``begin`` starts one and nothing survives its end. The result of a segment depends only on its crops, its
    audio, its references and the seed, never on how calls were batched in time.

    With ``leave_on_device`` set, ``GeneratedCrop.rgb`` is a tensor where the model computes, with values that are
    final when it is handed out, so that it may be read from any stream. A model that always gives arrays ignores it.
    """

    leave_on_device: bool = False
    threads: int | None = None
    """Threads that torch should use while the model runs; None leaves them as they are."""

    @property
    @abstractmethod
    def spec(self) -> ModelSpec:
        """Geometry, chunking and audio needs."""

    @abstractmethod
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> S:
        """State of a segment whose first frame is at ``start`` seconds of the dub track."""

    @abstractmethod
    def step(self, state: S, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """A generated crop for each crop, or None to leave it alone; advances ``state`` in place.

        Only the last chunk of a segment may be shorter than ``spec.chunk_frames``, or, with ``spec.rate``, end
        before the chunk's time does. A model that looks ahead at pictures (``spec.lag_frames``) gives what is ready,
        in the order of the crops: at first fewer than the chunk has, later those of earlier chunks.
        """

    def finish(self, state: S) -> list[GeneratedCrop | None]:
        """Everything that is still owed; the segment has ended."""
        return []

    def watch(self, stage: str) -> AbstractContextManager[object]:
        """Entered around each stage within ``step``; replaced by whoever measures."""
        return nullcontext()

    def wait(self) -> None:
        """Return when the device has done all it was given."""

    def flops_per_frame(self) -> float | None:
        """Operations behind a picture of the steady state; None where nobody has counted them."""
        return None
