"""The embedded sync expert: embeds the mouths of a clip as it is read and compares them with any sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from lipsync_cli import hub
from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.types import MEL_RATE, UInt8
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
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, EmbeddedNetwork
from lipsync_cli.media.audio import duration_of, open_speech
from lipsync_cli.nn.checking import check_state_dict

if TYPE_CHECKING:
    from lipsync_cli.nn.sync.sync_mini import SyncMini

MODEL = KIND = "sync-mini"
VERSION = 1
_ROWS = MEL_RATE // GRID_RATE
_WINDOW = 16
_CHUNK = 64


class ExpertConfig(BaseModel):
    """The ``[generator]`` table of the expert's model card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    picture: tuple[int, ...] = (16, 32, 48, 64)
    sound: tuple[int, int, int] = (24, 48, 64)
    features: int = 128
    embedding: int = 256


def load_expert(name: str | Path = MODEL) -> SyncMini:
    """The expert with its verified weights; raises ModelError for missing, damaged or foreign ones."""
    from safetensors.torch import load_file

    from lipsync_cli.nn.sync.sync_mini import SyncConfig, SyncMini

    card = hub.load_card(name)
    hub.require_version(card, kind=KIND, version=VERSION)
    path = hub.resolve_weights(card, "expert")
    config = hub.read_table(card.generator, ExpertConfig, model=card.name)
    expert = SyncMini(SyncConfig(**config.model_dump()))
    tensors = load_file(path)
    check_state_dict({key: value.shape for key, value in expert.state_dict().items()}, tensors, path)
    expert.load_state_dict({key: v.float() if v.is_floating_point() else v for key, v in tensors.items()})
    return expert.eval()


@dataclass(slots=True)
class EmbeddingRun:
    """Embeddings of the windows of an unbroken stretch of mouths that begins at grid index ``first``."""

    first: int
    rows: list[Embeddings] = field(default_factory=list)

    @property
    def embeddings(self) -> Embeddings:
        """``[n d]``."""
        return np.concatenate(self.rows)


class ExpertMeter:
    """Takes lower-face crops on the 25 Hz grid, or None; keeps one embedding a frame and up to 79 mouths."""

    def __init__(self, expert: SyncMini) -> None:
        self._expert = expert
        self._count = 0
        self._held: list[UInt8] = []
        self.runs: list[EmbeddingRun] = []

    def add(self, crop: UInt8 | None) -> None:
        """The next crop RGB uint8 ``[s s 3]``; None where there is no face to look at."""
        if crop is None:
            self._break()
        else:
            if not self._held:
                self.runs.append(EmbeddingRun(self._count))
            self._held.append(crop)
            if len(self._held) == _CHUNK + _WINDOW - 1:
                self._embed()
        self._count += 1

    def finish(self) -> list[EmbeddingRun]:
        """Embed what is held; runs shorter than a window are gone."""
        self._break()
        return self.runs

    def _break(self) -> None:
        if len(self._held) >= _WINDOW:
            self._embed()
        self._held = []
        if self.runs and not self.runs[-1].rows:
            self.runs.pop()

    def _embed(self) -> None:
        import torch

        from lipsync_cli.nn.sync.sync_mini import mouth_windows

        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(self._held)).permute(0, 3, 1, 2).float() / 255
            self.runs[-1].rows.append(self._expert.picture(mouth_windows(pixels)[None])[0].numpy())
        self._held = self._held[len(self._held) - _WINDOW + 1 :]


def score_runs(expert: SyncMini, runs: list[EmbeddingRun], sound: Path, start: Fraction) -> SyncScore | None:
    """Compare a clip's runs with a file's sound, whose second ``start`` belongs to grid index 0.

    Distances are 1 − cosine, in [0, 1]; sound beyond the file's ends is never compared. None when no window has
    sound.
    """
    total = OffsetSums(np.zeros(2 * MAX_OFFSET + 1), np.zeros(2 * MAX_OFFSET + 1))
    end = duration_of(sound)
    with open_speech(sound) as spans:
        speech = SpeechTrack(iter(spans))
        for run in runs:
            picture = run.embeddings
            first = max(run.first - MAX_OFFSET, -int(start * GRID_RATE // 1))
            last = min(run.first + len(picture) + MAX_OFFSET, int((end - start) * GRID_RATE // 1) - _WINDOW + 1)
            if last > first:
                sound_windows = _embed_sound(expert, speech, round(start * MEL_RATE) + _ROWS * first, last - first)
                total += offset_sums(picture, sound_windows, one_minus_cosine, first_sound=run.first - first)
    if not total.counts[MAX_OFFSET]:
        return None
    return score_curve(total.curve(), windows=sum(len(run.embeddings) for run in runs))


def _embed_sound(expert: SyncMini, speech: SpeechTrack, first_row: int, windows: int) -> Embeddings:
    import torch

    mel = speech.rows(first_row, _ROWS * (windows + _WINDOW - 1))
    with torch.inference_mode():
        return np.asarray(expert.sound(torch.from_numpy(mel)[None])[0].numpy())


EXPERT = EmbeddedNetwork("expert", MODEL, load_expert)


class SyncExpert(Measure):
    """How well picture and sound go together, and how well the picture still goes with the original sound."""

    metrics = (
        Metric(
            name="sync_confidence",
            title="Sync conf.",
            better="higher",
            section="sync",
            needs=(EXPERT, SOUND),
            meaning="embedded expert: median − least distance over ± 15 frames",
        ),
        Metric(
            name="sync_distance",
            title="Sync dist.",
            better="lower",
            section="sync",
            needs=(EXPERT, SOUND),
            meaning="embedded expert: least mean distance (1 − cosine)",
            shown="table",
        ),
        Metric(
            name="sync_probability",
            title="Sync prob.",
            better="higher",
            section="sync",
            needs=(EXPERT, SOUND),
            meaning="embedded expert: mean cosine at offset 0",
        ),
        Metric(
            name="av_offset",
            title="AV offset",
            better="zero",
            digits=1,
            section="sync",
            needs=(EXPERT, SOUND),
            meaning="embedded expert: frames by which the sound is early",
        ),
        Metric(
            name="leak",
            title="Leak",
            better="zero",
            section="original",
            needs=(EXPERT, ORIGINAL),
            signed=True,
            meaning="embedded expert: agreement at offset 0 with the original sound; chance is 0",
        ),
    )
    series_names = ("sync_curve",)

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._meter = ExpertMeter(clip.networks.get(EXPERT))
        self._scores: dict[AlignedSound, SyncScore | None] = {}

    def add_on_grid(self, frame: MeasuredFrame | None) -> None:
        """See Measure."""
        self._meter.add(None if frame is None or frame.crop is None else frame.crop.rgb)

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        values: dict[str, float | None] = {}
        if (score := self._score(sounds.sound)) is not None:
            values["sync_confidence"] = score.confidence
            values["sync_distance"] = score.distance
            values["sync_probability"] = 1 - score.at(0)
            values["av_offset"] = float(score.av_offset)
        if (original := self._score(sounds.original)) is not None:
            # How much nearer it is at offset 0 than at the median offset.
            values["leak"] = original.confidence + original.distance - original.at(0)
        return values

    def series(self, sounds: ClipSounds) -> Mapping[str, Sequence[float]]:
        """Mean distances at AV offsets 15 … −15."""
        score = self._score(sounds.sound)
        return {"sync_curve": score.curve if score is not None else ()}

    def _score(self, sound: AlignedSound | None) -> SyncScore | None:
        if sound is None:
            return None
        if sound not in self._scores:
            self._scores[sound] = score_runs(
                self.clip.networks.get(EXPERT), self._meter.finish(), sound.path, sound.start
            )
        return self._scores[sound]
