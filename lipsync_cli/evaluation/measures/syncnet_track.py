"""SyncNet v2 over a clip as it is read: one track per unbroken run of the face, scores averaged over tracks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipsync_cli.core.types import Float64
from lipsync_cli.evaluation.clip_reader import GRID_RATE, MeasuredFrame
from lipsync_cli.evaluation.measures import syncnet
from lipsync_cli.evaluation.measures.av_offset import Embeddings, SyncScore
from lipsync_cli.media.audio import open_speech

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2


@dataclass(frozen=True, slots=True)
class _Done:
    first: int
    embeddings: Embeddings


class _Track:
    """A run of the face: boxes smoothed, crops cut and embedded as they come."""

    def __init__(self, first: int, network: SyncNetV2) -> None:
        self.first = first
        self.smoother, self.embedder = syncnet.BoxSmoother(), syncnet.FaceEmbedder(network)


class SyncNetMeter:
    """Takes readings on the 25 Hz grid, or None; holds seven pictures, a dozen crops and an embedding a frame."""

    def __init__(self, network: SyncNetV2, to_display: Float64) -> None:
        self._network, self._to_display = network, to_display
        self._count = 0
        self._track: _Track | None = None
        self._done: list[_Done] = []

    def add(self, reading: MeasuredFrame | None) -> None:
        """The next reading; None ends the track."""
        if reading is None or reading.face is None:
            self._end()
        else:
            self._track = self._track or _Track(self._count, self._network)
            self._embed(self._track, self._track.smoother.push(reading.face.box, reading.rgb))
        self._count += 1

    def score(self, sound: Path, start: Fraction) -> SyncScore | None:
        """Mean scores of the tracks with ``sound``, whose second ``start`` belongs to the first frame."""
        self._end()
        scores = list(self._scores(sound, start))
        if not scores:
            return None
        return SyncScore(
            confidence=float(np.mean([score.confidence for score in scores])),
            distance=float(np.mean([score.distance for score in scores])),
            # Truncated, as upstream does.
            av_offset=int(np.mean([score.av_offset for score in scores])),
            windows=sum(score.windows for score in scores),
            curve=tuple(np.mean([score.curve for score in scores], axis=0).tolist()),
        )

    def _scores(self, sound: Path, start: Fraction) -> Iterator[SyncScore]:
        for track in self._done:
            begin = start + Fraction(track.first, GRID_RATE)
            frames = len(track.embeddings) + syncnet.STACK - 1
            if frames < syncnet.STACK:
                continue
            length = Fraction(frames, GRID_RATE)
            with open_speech(sound, start=max(begin, Fraction(0)), end=begin + length) as spans:
                samples = np.concatenate([span.samples[0] for span in spans])
            pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
            count = syncnet.window_count(frames, len(pcm))
            if count > 0:
                heard = syncnet.embed_sound(self._network, pcm, count)
                yield syncnet.score_syncnet(track.embeddings[:count], heard)

    def _embed(self, track: _Track, placed: list[syncnet.Placed]) -> None:
        for place, rgb in placed:
            track.embedder.push(syncnet.cut_face(rgb, place, self._to_display))

    def _end(self) -> None:
        track, self._track = self._track, None
        if track is not None:
            self._embed(track, track.smoother.finish())
            self._done.append(_Done(track.first, track.embedder.finish()))
