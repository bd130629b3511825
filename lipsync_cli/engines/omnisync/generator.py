"""OmniSync (arXiv 2505.21448) as a generator: whole aligned crops in, without a mask, and whole crops out.

The model is bidirectional, so it works in windows of latent frames on a clock of its own, each of which overlaps the
one before. Source latents and decoded pictures are streams; where two windows overlap their results are faded into
each other before anything is decoded, so a picture comes up to an overlap later than its crop. What a segment holds
does not grow with its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.crop_templates import crop_template
from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.core.types import MEL_RATE, Crop, Float32, GeneratedCrop, ModelSpec
from lipsync_cli.engines.lip_forcing.generator import Codec
from lipsync_cli.engines.model_clock import ON_TIME, crop_at
from lipsync_cli.engines.omnisync.config import KIND, OmniSyncConfig
from lipsync_cli.engines.omnisync.mouth_map import MouthTrack
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.engines.omnisync.nn.whisper import WhisperEars
from lipsync_cli.engines.omnisync.noise_start import latent_noise
from lipsync_cli.engines.omnisync.region_lock import grown
from lipsync_cli.engines.omnisync.speech_window import ROWS_BEFORE, by_latent_frame, frame_features
from lipsync_cli.engines.protocol import CropChunk
from lipsync_cli.engines.sharpening import finished

SLACK_FRAMES = 2
"""Video frames of sound asked for beyond what is heard: times of frames are rounded."""


@dataclass(frozen=True, slots=True)
class OmniSyncNetworks:
    """Everything with weights. ``ears`` is None for log-mel rows, ``text`` ``[1 l d]`` is None for no prompt."""

    transformer: OmniSyncTransformer
    codec: Codec
    ears: WhisperEars | None = None
    text: Tensor | None = None


@dataclass(slots=True)
class OmniSyncState:
    """What a segment carries from window to window; its size does not depend on the segment's length.

    ``sources`` and ``tail`` dtype[1 overlap c h w]: latents of the source and of the result where the next window
    overlaps. ``latents``: latent frames before that. ``seen`` and ``made``: video frames of the clock taken and
    drawn. ``pictures``: those that may still be wanted, by frame. ``owed``: positions of crops without an answer.
    """

    start: Fraction
    seed: int
    encoding: Any
    decoding: Any
    mouth: MouthTrack
    latents: int = 0
    sources: Tensor | None = None
    tail: Tensor | None = None
    seen: int = 0
    made: int = 0
    pictures: dict[int, Float32 | Tensor] = field(default_factory=dict)
    owed: deque[Fraction] = field(default_factory=deque)
    shown: tuple[Fraction, Crop] | None = None


class OmniSync:
    """Generator over loaded networks.

    ``watch`` may be set to be told of stages (encode, speech, transformer, decode) as they run.
    """

    def __init__(self, networks: OmniSyncNetworks, config: OmniSyncConfig, *, name: str = KIND) -> None:
        self.networks, self.config = networks, config
        self.device, self.dtype = networks.transformer.device, networks.transformer.dtype
        self.watch: Callable[[str], AbstractContextManager[object]] = lambda stage: nullcontext()
        self.leave_drawings = False
        self._sampler = config.sampler()
        free = torch.from_numpy(
            np.array(generation_region(config.latent_size, crop_template(config.template).region))
        )
        self._region = grown(free.float(), 1).to(self.device)
        self._text = None if networks.text is None else networks.text.to(self.device, self.dtype)
        self._spec = _spec(config, name, self.dtype)

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def flops_per_frame(self) -> float:
        """Operations behind a picture of the steady state, counted."""
        from lipsync_cli.engines.omnisync.cost import flops_per_frame

        return flops_per_frame(self.config)

    def wait(self) -> None:
        """Return when the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> OmniSyncState:
        """Nothing seen yet; a window's own crops are all the reference there is."""
        codec = self.networks.codec
        return OmniSyncState(start, seed, codec.begin(), codec.begin(), MouthTrack.begin())

    @torch.inference_mode()
    def step(self, state: OmniSyncState, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """Edit up to the chunk's last time, then hand out what is final: the picture nearest to each crop's time."""
        positions = [(time - state.start) * self.config.rate for time in chunk.times]
        on_screen = [*([state.shown] if state.shown else []), *zip(positions, chunk.crops, strict=True)]
        state.owed.extend(positions)
        while state.seen <= ceil(positions[-1] - ON_TIME):
            self._window(state, on_screen, chunk)
        state.shown = on_screen[-1]
        return self._ready(state, state.made)

    @torch.inference_mode()
    def finish(self, state: OmniSyncState) -> list[GeneratedCrop | None]:
        """The pictures that waited for another window."""
        if state.tail is not None:
            self._decode(state, state.tail)
            state.tail = None
        return self._ready(state, None)

    def _ready(self, state: OmniSyncState, limit: int | None) -> list[GeneratedCrop | None]:
        """Pictures of the crops that have waited longest, those before frame ``limit``, all of them if None."""
        out: list[GeneratedCrop | None] = []
        while state.owed and (limit is None or floor(state.owed[0] + Fraction(1, 2)) < limit):
            wanted = min(floor(state.owed.popleft() + Fraction(1, 2)), state.made - 1)
            out.append(GeneratedCrop(state.pictures[wanted]))
            state.pictures = {index: picture for index, picture in state.pictures.items() if index >= wanted}
        return out

    def _window(self, state: OmniSyncState, on_screen: list[tuple[Fraction, Crop]], chunk: CropChunk) -> None:
        """Edit the next window and decode what no later one will touch."""
        config, overlap = self.config, self.config.overlap
        begins = state.sources is None
        count = config.first_chunk_frames if begins else config.chunk_frames
        crops = [crop_at(on_screen, Fraction(index)) for index in range(state.seen, state.seen + count)]
        with self.watch("encode"):
            new = self.networks.codec.encode(self._pixels(crops)[None], state.encoding).float()
            source = new if state.sources is None else torch.cat([state.sources, new], 1)
            state.mouth.follow(crops, config, first=begins, keep=0 if begins else overlap)
        with self.watch("speech"):
            audio = self._hear(state, chunk)
        with self.watch("transformer"):
            edited = self._edit(state, source, audio)
        if state.tail is not None:
            edited = torch.cat([faded(state.tail, edited[:, :overlap]), edited[:, overlap:]], 1)
        with self.watch("decode"):
            self._decode(state, edited[:, :-overlap])
        state.tail, state.sources = edited[:, -overlap:], source[:, -overlap:]
        state.latents += config.window - overlap
        state.seen += count

    def _edit(self, state: OmniSyncState, source: Tensor, audio: Tensor) -> Tensor:
        """Clean latents of a window ``[1 n c h w]`` that speak ``audio`` ``[n m a]``."""
        config, network = self.config, self.networks.transformer
        heard = OmniCondition(source, audio[None].to(self.device), self._text)
        silent = heard.without_sound()

        def predict(x: Tensor, sigma: float, sound: bool) -> Tensor:
            time = torch.full((1,), sigma, device=self.device)
            velocity: Tensor = network(x, time, heard if sound else silent)
            return velocity.float()

        noise = latent_noise(state.seed, state.latents, source.shape[1], source.shape[2:]).to(self.device)
        mouth = state.mouth.map(config).to(self.device) if config.cfg_map == "mouth" else 1.0
        return self._sampler(predict, source, noise, mouth=mouth, region=self._region)

    def _hear(self, state: OmniSyncState, chunk: CropChunk) -> Tensor:
        """Features ``[n m a]`` of a window's latent frames."""
        config = self.config
        first, count = config.first_heard(state.latents), config.heard_frames(config.window)
        features = frame_features(config, self.networks.ears, chunk, state.start, first, count)
        return by_latent_frame(config, features)

    def _decode(self, state: OmniSyncState, latents: Tensor) -> None:
        decoded = self.networks.codec.decode(latents.to(self.dtype), state.decoding)[0].permute(0, 2, 3, 1).float()
        pictures = finished(decoded) if self.leave_drawings else decoded.cpu().numpy()
        state.pictures |= {state.made + index: picture for index, picture in enumerate(pictures)}
        state.made += len(pictures)

    def _pixels(self, crops: Sequence[Crop]) -> Tensor:
        """RGB ``[t 3 s s]`` in [0, 1] on the device."""
        stacked = torch.from_numpy(np.stack([crop.rgb for crop in crops])).to(self.device)
        return stacked.permute(0, 3, 1, 2).to(self.dtype) / 255


def faded(before: Tensor, after: Tensor) -> Tensor:
    """From one window's latents ``[b n c h w]`` to the next one's, evenly over the frames that both have."""
    n = before.shape[1]
    shares = torch.arange(1, n + 1, device=before.device, dtype=before.dtype) / (n + 1)
    return torch.lerp(before, after, shares.view(1, -1, 1, 1, 1))


def _spec(config: OmniSyncConfig, name: str, dtype: torch.dtype) -> ModelSpec:
    past, lookahead = (config.speech_past, config.speech_lookahead) if config.speech == "whisper" else (0, 0)
    rows = Fraction(ROWS_BEFORE, MEL_RATE)
    back = config.frames_per_latent * config.overlap + config.audio_reach + past + SLACK_FRAMES
    return ModelSpec(
        name=name,
        template=config.template,
        crop_size=config.crop_size,
        first_chunk_frames=config.first_chunk_frames,
        chunk_frames=config.chunk_frames,
        reference_frames=0,
        audio_before_s=Fraction(back, config.rate) + rows,
        audio_after_s=Fraction(config.audio_reach + lookahead + SLACK_FRAMES, config.rate),
        audio="waveform" if config.speech == "whisper" else "mel",
        rate=Fraction(config.rate),
        lag_frames=config.frames_per_latent * config.overlap,
        details={
            "steps": len(config.sampler().times()) - 1,
            "passes": config.sampler().passes(),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "codec": config.codec,
            "speech": config.speech,
        },
    )
