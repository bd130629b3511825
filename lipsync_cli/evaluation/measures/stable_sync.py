"""StableSyncNet, for whoever has a file of it: how likely do these lips go with this sound?

Faces are laid out as LatentSync lays them, brows and nose at fixed places of a square, by this tool's own tracker and
landmarks; the network sees their lower halves. A window of 16 frames begins every fourth frame, since neighbours
overlap almost wholly and each costs the public network 36 GFLOP. Distances are 1 − cosine.

The public weights were trained on crops by another landmark detector, smoothed otherwise, and have not been tried
here: compare scores within one command, not with those of papers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.audio.wav2lip_mel import HOP, column_samples, first_column, wav2lip_mel
from lipsync_cli.core.crop_templates import LATENTSYNC
from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import SPEECH_RATE, Float32, UInt8
from lipsync_cli.evaluation.clip_reader import GRID_RATE, MeasuredFrame
from lipsync_cli.evaluation.measure import AlignedSound, ClipContext, ClipSounds, Measure
from lipsync_cli.evaluation.measures.av_offset import (
    MAX_OFFSET,
    Embeddings,
    OffsetSums,
    SyncScore,
    offset_sums,
    one_minus_cosine,
    score_curve,
)
from lipsync_cli.evaluation.measures.sync_mini import EmbeddingRun
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOUND, NetworkFile
from lipsync_cli.faces.crop import cut_picture
from lipsync_cli.media.audio import duration_of, open_speech

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.stable_syncnet import StableSyncNet

STRIDE = 4
_SOUNDS_AT_ONCE = 32


def load_stable_sync(path: Path) -> StableSyncNet:
    """The network of a file; ModelError for one that cannot be read, does not fit or looks at latents."""
    from lipsync_cli.nn.sync.stable_syncnet_file import load_stable_syncnet

    network = load_stable_syncnet(path)
    if not network.config.sees_pixels:
        raise ModelError(
            f"{path.name} compares VAE latents, and lipsync eval shows its networks pictures.",
            hint="Give the stable_syncnet.pt of LatentSync 1.5 or 1.6, or one of lipsync train stable-sync.",
        )
    return network


def aligned_half(picture: UInt8, landmarks: npt.ArrayLike, to_display: npt.ArrayLike, height: int) -> UInt8:
    """Lower half RGB ``[height 2·height 3]`` of the aligned face of a stored picture; landmarks in display pixels."""
    return cut_picture(picture, landmarks, to_display, LATENTSYNC, 2 * height).rgb[height:]


def frame_major(halves: npt.NDArray[np.uint8]) -> UInt8:
    """Windows ``[… 3·f h w]``, one frame's channels after the other's, of lower halves ``[… f h w 3]``."""
    planes = np.moveaxis(halves, -1, -3)
    return np.ascontiguousarray(planes.reshape(*planes.shape[:-4], -1, *planes.shape[-2:]))


def mel_windows(samples: Float32, origin: int, starts: range, columns: int) -> Float32:
    """Mels ``[n 1 80 columns]`` of the windows that begin with frames ``starts``.

    Sample ``origin`` of ``samples``, mono at 16 kHz, belongs to frame 0; what lies beyond the ends is silence.
    """
    first = first_column(starts[0])
    count = first_column(starts[-1]) + columns - first
    begin, stop = (origin + n for n in column_samples(first, count))
    inside = samples[max(begin, 0) : max(stop, 0)]
    before = min(max(-begin, 0), stop - begin)  # all of it where the window ends before the sound begins
    mel = wav2lip_mel(np.pad(inside, (before, stop - begin - before - len(inside))))
    at = [first_column(start) - first for start in starts]
    return np.stack([mel[None, :, column : column + columns] for column in at])


STABLE_SYNC = NetworkFile("stable_sync", "stable_syncnet.pt", load_stable_sync, option="--stable-sync")


class StableSync(Measure):
    """Scores the face on the 25 Hz grid; holds a window of lower halves, an embedding every fourth frame."""

    metrics = (
        Metric(
            name="stable_sync",
            title="StableSync",
            better="higher",
            section="sync",
            needs=(STABLE_SYNC, SOUND),
            meaning="StableSyncNet: mean cosine at offset 0, a probability",
            shown="table",
        ),
        Metric(
            name="stable_sync_confidence",
            title="StableSync conf.",
            better="higher",
            section="sync",
            meaning="StableSyncNet: median − least distance over ± 15 frames",
            needs=(STABLE_SYNC, SOUND),
            shown="table",
        ),
        Metric(
            name="stable_sync_offset",
            title="StableSync offset",
            better="zero",
            digits=1,
            section="sync",
            meaning="StableSyncNet: frames the sound is early",
            needs=(STABLE_SYNC, SOUND),
            shown="table",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._network: StableSyncNet = clip.networks.get(STABLE_SYNC)
        self._held: deque[UInt8] = deque(maxlen=self._network.config.frames)
        self._length = self._count = 0
        self.runs: list[EmbeddingRun] = []

    def add_on_grid(self, frame: MeasuredFrame | None) -> None:
        """See Measure; None ends a run."""
        if frame is None or frame.face is None:
            self._held.clear()
            self._length = 0
        else:
            self._push(aligned_half(frame.rgb, frame.face.landmarks, self.clip.to_display, self._height))
        self._count += 1

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        score = None if sounds.sound is None else self.score(sounds.sound)
        if score is None:
            return {}
        return {
            "stable_sync": 1 - score.at(0),
            "stable_sync_confidence": score.confidence,
            "stable_sync_offset": float(score.av_offset),
        }

    def score(self, sound: AlignedSound) -> SyncScore | None:
        """Compare with a sound, never beyond its ends; None without a window of both."""
        total = OffsetSums(np.zeros(2 * MAX_OFFSET + 1), np.zeros(2 * MAX_OFFSET + 1))
        start, end, config = sound.start, duration_of(sound.path), self._network.config
        with open_speech(sound.path) as spans:
            speech = SpeechTrack(iter(spans))
            for run in self.runs:
                picture = run.embeddings
                first = max(run.first - MAX_OFFSET, -int(start * GRID_RATE // 1))
                last = run.first + STRIDE * (len(picture) - 1) + MAX_OFFSET
                last = min(last, int((end - start) * GRID_RATE // 1) - config.frames)
                if last >= first:
                    sounds = list(self._embed_sound(speech, start, range(first, last + 1)))
                    total += offset_sums(
                        picture,
                        np.concatenate(sounds),
                        one_minus_cosine,
                        first_sound=run.first - first,
                        stride=STRIDE,
                    )
        if not total.counts[MAX_OFFSET]:
            return None
        return score_curve(total.curve(), windows=sum(len(run.embeddings) for run in self.runs))

    @property
    def _height(self) -> int:
        return self._network.config.visual.shape[1]

    def _push(self, half: UInt8) -> None:
        self._held.append(half)
        self._length += 1
        late = self._length - self._network.config.frames
        if late == 0:
            self.runs.append(EmbeddingRun(self._count - self._network.config.frames + 1))
        if late >= 0 and late % STRIDE == 0:
            self.runs[-1].rows.append(self._embed(np.stack(self._held)))

    def _embed(self, halves: UInt8) -> Embeddings:
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(frame_major(halves))[None].float() / 127.5 - 1
            return np.asarray(self._network.picture(pixels).numpy())

    def _embed_sound(self, speech: SpeechTrack, start: Fraction, windows: range) -> Iterator[Embeddings]:
        import torch

        zero, columns = round(start * SPEECH_RATE), self._network.config.columns
        for first in range(0, len(windows), _SOUNDS_AT_ONCE):
            part = windows[first : first + _SOUNDS_AT_ONCE]
            begin = zero + first_column(part[0]) * HOP - SPEECH_RATE
            stop = zero + (first_column(part[-1]) + columns) * HOP + SPEECH_RATE
            have, samples = speech.samples(begin, stop)
            mel = mel_windows(samples, zero - have, part, columns)
            with torch.inference_mode():
                yield np.asarray(self._network.sound(torch.from_numpy(mel)).numpy())
