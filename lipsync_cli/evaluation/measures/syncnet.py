"""LSE-C, LSE-D and AV offset by the classic SyncNet v2, for whoever has its weights (``syncnet_v2.model``).

One track is scored per unbroken run of the face, and scores are averaged over tracks. Faces come from this tool's own
tracker instead of S3FD, so figures differ a little from those of papers; compare within one command.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipsync_cli.core.errors import ModelError
from lipsync_cli.evaluation.clip_reader import GRID_RATE, MeasuredFrame
from lipsync_cli.evaluation.measure import AlignedSound, ClipContext, ClipSounds, Measure
from lipsync_cli.evaluation.measures import syncnet_embedding as embedding
from lipsync_cli.evaluation.measures.av_offset import Embeddings, SyncScore, mean_scores
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOUND, NetworkFile
from lipsync_cli.media.audio import open_speech
from lipsync_cli.nn.checking import check_state_dict

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2


def load_syncnet(path: Path) -> SyncNetV2:
    """The network with the weights of ``syncnet_v2.model``; ModelError unless keys and shapes are exactly its."""
    import torch

    from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2

    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path} cannot be read as SyncNet weights: {type(error).__name__}.",
            hint="Expected syncnet_v2.model of joonson/syncnet_python, a plain PyTorch state dict.",
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ModelError(f"{path} holds no state dict.", hint="Expected syncnet_v2.model of joonson/syncnet_python.")
    network = SyncNetV2()
    check_state_dict({key: value.shape for key, value in network.state_dict().items()}, tensors, path)
    network.load_state_dict(tensors, strict=True)
    return network.eval()


SYNCNET = NetworkFile("syncnet", "syncnet_v2.model", load_syncnet, option="--syncnet")


@dataclass(frozen=True, slots=True)
class _EndedTrack:
    first: int
    embeddings: Embeddings


class _OpenTrack:
    """A run of the face: boxes smoothed, crops cut and embedded as they come."""

    def __init__(self, first: int, network: SyncNetV2) -> None:
        self.first = first
        self.smoother, self.embedder = embedding.BoxSmoother(), embedding.FaceEmbedder(network)


class SyncNet(Measure):
    """LSE of the face on the 25 Hz grid; holds seven pictures, a dozen crops and an embedding a frame."""

    metrics = (
        Metric(
            name="lse_c",
            title="LSE-C",
            better="higher",
            digits=2,
            section="sync",
            needs=(SYNCNET, SOUND),
            meaning="SyncNet v2: Sync-C, median − least distance",
            shown="table",
        ),
        Metric(
            name="lse_d",
            title="LSE-D",
            better="lower",
            digits=2,
            section="sync",
            needs=(SYNCNET, SOUND),
            meaning="SyncNet v2: Sync-D, least mean distance",
            shown="table",
        ),
        Metric(
            name="syncnet_offset",
            title="SyncNet offset",
            better="zero",
            digits=1,
            section="sync",
            meaning="SyncNet v2: frames by which the sound is early",
            needs=(SYNCNET, SOUND),
            shown="table",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._network = clip.networks.get(SYNCNET)
        self._count = 0
        self._open: _OpenTrack | None = None
        self._ended: list[_EndedTrack] = []

    def add_on_grid(self, frame: MeasuredFrame | None) -> None:
        """See Measure; None ends a track."""
        if frame is None or frame.face is None:
            self._end()
        else:
            self._open = self._open or _OpenTrack(self._count, self._network)
            self._embed(self._open, self._open.smoother.push(frame.face.box, frame.rgb))
        self._count += 1

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        score = None if sounds.sound is None else self.score(sounds.sound)
        if score is None:
            return {}
        return {"lse_c": score.confidence, "lse_d": score.distance, "syncnet_offset": float(score.av_offset)}

    def score(self, sound: AlignedSound) -> SyncScore | None:
        """Mean scores of the tracks; None where none has a window with sound."""
        self._end()
        scores = list(self._scores(sound.path, sound.start))
        return mean_scores(scores) if scores else None

    def _scores(self, sound: Path, start: Fraction) -> Iterator[SyncScore]:
        for track in self._ended:
            begin = start + Fraction(track.first, GRID_RATE)
            frames = len(track.embeddings) + embedding.STACK - 1
            if frames < embedding.STACK:
                continue
            length = Fraction(frames, GRID_RATE)
            with open_speech(sound, start=max(begin, Fraction(0)), end=begin + length) as spans:
                samples = np.concatenate([span.samples[0] for span in spans])
            pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
            count = embedding.window_count(frames, len(pcm))
            if count > 0:
                speech = embedding.embed_sound(self._network, pcm, count)
                yield embedding.score_syncnet(track.embeddings[:count], speech)

    def _embed(self, track: _OpenTrack, placed: list[embedding.Placed]) -> None:
        for place, rgb in placed:
            track.embedder.push(embedding.cut_face(rgb, place, self.clip.to_display))

    def _end(self) -> None:
        track, self._open = self._open, None
        if track is not None:
            self._embed(track, track.smoother.finish())
            self._ended.append(_EndedTrack(track.first, track.embedder.finish()))
