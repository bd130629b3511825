"""``lip-forcing-mini``: the embedded model.

Mouth states live on a grid of 25 per second counted from the segment's start and are spoken from the audio by the
causal flow, two denoising steps per chunk of four; the renderer then draws each crop with the state interpolated
at its own time. So any frame rate, and a variable one, is followed without resampling the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.landmarks68 import from_closed_to_open, mouth_aperture
from lipsync_cli.core.types import MEL_RATE, Crop, Float32, Float64, GeneratedCrop, ModelSpec
from lipsync_cli.engines.mini.adapter import Adapter
from lipsync_cli.engines.mini.config import KIND, VERSION, MiniConfig, read_config
from lipsync_cli.engines.mini.crop_renderer import CropRenderer, pixels_of
from lipsync_cli.engines.mini.head_motion import Pose
from lipsync_cli.engines.mini.nn.calibration import Calibration, calibrate
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow, FlowCache
from lipsync_cli.engines.mini.nn.flow_backbone import MEL_ROWS, ROWS_BEFORE
from lipsync_cli.engines.mini.nn.landmark_flow import JAW_LINE, POINTS
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.renderer import Renderer
from lipsync_cli.engines.mini.reference_bank import EASE, ReferenceBank
from lipsync_cli.engines.mini.warping_opencv import RenderJob
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel, MelSpan
from lipsync_cli.engines.rollout import chunk_noise, roll_chunk
from lipsync_cli.hub import ModelCard, require_version, resolve_weights
from lipsync_cli.nn.checking import check_state_dict

LATENT_RATE = 25
# Time constant in steps of the grid of what chooses references.
LINGER = 1.0
# In crop widths: references whose apertures differ by less come from lips at rest; what lips do that speak.
STILL_RANGE, CLOSED_APERTURE, OPEN_APERTURE = 0.015, 0.002, 0.08
# In crop widths too: lips further apart than a closed mouth's are none that could simply be closed for silence.
AJAR = 0.02


class MiniNetworks(nn.Module):
    """Encoder, renderer and flow under one state dict, as they are shipped."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.encoder = MouthEncoder(config.latent)
        self.renderer = Renderer(config.latent)
        self.flow = CausalFlow(config.flow())


@dataclass(slots=True)
class MiniState:
    """What a segment carries from chunk to chunk.

    ``z``: float[n latent] states first_index … first_index + n − 1 (encoder units); ``rest``: float[latent], the
    closed mouth of this face; ``near``: float[references latent], what the flow keeps near to;
    ``selection_points`` ``[1 29 2]``: what last chose references, for grid position ``selection_position``.
    """

    start: Fraction
    seed: int
    cache: FlowCache
    bank: ReferenceBank
    rest: Tensor
    near: Tensor
    z: Tensor
    first_index: int = 0
    selection_points: Tensor | None = None
    selection_position: Fraction = Fraction(0)

    def smoothed(self, points: Tensor, position: Fraction) -> Tensor:
        """Lip points ``[1 29 2]`` of a grid position as references are chosen by: following what is spoken a little
        late, so that the choice does not flicker. Displacement takes care of the rest."""
        if self.selection_points is not None:
            share = 1 - math.exp(-float(position - self.selection_position) / LINGER)
            points = torch.lerp(self.selection_points, points, share)
        self.selection_points, self.selection_position = points, position
        return points


class LipForcingMini(LipSyncModel[MiniState]):
    """Loaded networks as a model; see the module."""

    # Small maps gain nothing from more threads each, but a chunk's crops can be drawn side by side.
    threads = 1

    def __init__(
        self,
        networks: MiniNetworks,
        config: MiniConfig,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        name: str = KIND,
        drawers: int = 1,
        adapter: Adapter | None = None,
    ) -> None:
        """On a CPU the crops of a chunk are drawn by ``drawers`` threads, which changes no more than last digits.

        ``adapter`` is the one that ``networks`` were changed by, for the report.
        """
        self.config, self.device, self.dtype = config, torch.device(device), dtype
        self._prototype = torch.empty(0, device=self.device, dtype=dtype)
        self.networks = networks.eval().to(self.device)
        self._on_cpu = self.device.type == "cpu" and dtype == torch.float32
        self.networks.renderer.to(dtype=dtype)
        self.networks.renderer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._drawer = CropRenderer(
            self.networks.renderer, sharpen=config.sharpen, on_cpu=self._on_cpu, threads=drawers
        )
        hop = Fraction(1, MEL_RATE)
        ahead = Fraction(config.chunk, LATENT_RATE) + (MEL_ROWS - ROWS_BEFORE) * hop
        self._spec = ModelSpec(
            name=name,
            template=config.template,
            crop_size=config.crop_size,
            first_chunk_frames=config.chunk,
            chunk_frames=config.chunk,
            reference_frames=config.references,
            audio_before_s=Fraction(1, LATENT_RATE) + (ROWS_BEFORE + 1) * hop,
            audio_after_s=ahead + hop,
            details={
                "latent_rate": LATENT_RATE,
                "steps": len(config.schedule),
                "dtype": str(dtype).removeprefix("torch."),
                "threads": self.threads,
                **({} if adapter is None else {"adapter": adapter.summary}),
            },
        )

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @torch.inference_mode()
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> MiniState:
        """Choose references from closed to open mouth for the flow, all that differ for the bank; an empty past."""
        networks, config = self.networks, self.config
        chosen = self._choose(references)
        every = torch.cat([networks.encoder(self._pixels([crop]).float()) for crop in references])
        poses = [Pose.of(crop.landmarks, len(crop.rgb)) for crop in references]
        bank = ReferenceBank(
            networks.encoder, networks.renderer, self._pixels([references[index] for index in chosen]),
            [poses[index] for index in chosen],
            network_size=config.input_size, capacity=config.bank, on_cpu=self._on_cpu,
            calibration=self._calibrate(references, every),
        )  # fmt: skip
        z = bank.states
        for index, crop in enumerate(references):
            if index not in chosen:
                bank.admit(self._pixels([crop]), every[index : index + 1], poses[index], age=EASE)
        cache = networks.flow.begin(networks.flow.normalise(self._varied(z))[None])
        empty = torch.zeros(0, config.latent, device=self.device)
        return MiniState(start, seed, cache, bank, self._rest(z), z, empty)

    @torch.inference_mode()
    def step(self, state: MiniState, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """Speak up to the chunk's last time, then draw every crop at its own."""
        positions = [(time - state.start) * LATENT_RATE for time in chunk.times]
        while state.first_index + len(state.z) <= math.ceil(positions[-1]):
            self._speak(state, chunk.mel)
        z = torch.stack([self._state_at(state, position) for position in positions])
        silence = torch.from_numpy(np.ascontiguousarray(chunk.silence)).to(z)[:, None]
        z = z + silence * (state.rest - z)
        states = zip(chunk.crops, positions, torch.split(z, 1), strict=True)
        # What a crop is drawn from is decided in order, as the bank may grow from one to the next.
        jobs, jaws = zip(*(self._job(state, *each) for each in states), strict=True)
        self._forget(state, math.floor(positions[-1]))
        pictures = self._drawer.draw(jobs, leave=self.leave_on_device)
        return [GeneratedCrop(picture, jaw) for picture, jaw in zip(pictures, jaws, strict=True)]

    def _job(self, state: MiniState, crop: Crop, position: Fraction, z: Tensor) -> tuple[RenderJob, Float64]:
        """How to draw a crop with the mouth state ``[1 latent]``, and its jaw. Offers the crop to the bank."""
        points, bank = self.networks.encoder.landmarks(z).to(self.dtype), state.bank
        pose = Pose.of(crop.landmarks, len(crop.rgb))
        # A jaw speaks up and down. Sideways it lies as this head is turned; a state would say whose it resembles.
        points[0, JAW_LINE, 0] = torch.from_numpy(pose.jaw_columns).to(points)
        references, selection = bank.references(pose), state.smoothed(points, position)
        pixels = self._pixels([crop])
        own_z = self.networks.encoder(pixels.float())
        own = bank.calibrated(self.networks.encoder.landmarks(own_z)).to(points)
        own[0, JAW_LINE, 0] = points[0, JAW_LINE, 0]
        job = RenderJob(crop, z.to(self.dtype), points, references, tuple(bank.pictures), selection, own)
        if bank.wants():
            bank.admit(pixels, own_z, pose)
        jaw = (points + references.shift)[0, JAW_LINE].double() * len(crop.rgb) - 0.5
        return job, jaw.cpu().numpy()

    def _speak(self, state: MiniState, mel: MelSpan) -> None:
        first = state.first_index + len(state.z)
        windows = [self._window(state, mel, index) for index in range(first, first + self.config.chunk)]
        audio = self.networks.flow.audio(torch.from_numpy(np.stack(windows))[None].to(self.device))
        config = self.config
        drawn = chunk_noise(
            state.seed, first, config.chunk, config.latent, len(config.schedule), temperature=config.temperature
        )
        noises = [noise.to(self.device) for noise in drawn]
        x0 = roll_chunk(self.networks.flow, state.cache, audio, noises, config.schedule)
        spoken = self.networks.flow.anchored(x0, self.networks.flow.normalise(state.near[None]))
        state.z = torch.cat([state.z, self.networks.flow.denormalise(spoken[0])])

    def _window(self, state: MiniState, mel: MelSpan, index: int) -> Float32:
        row = round((state.start + Fraction(index, LATENT_RATE)) * MEL_RATE) - ROWS_BEFORE - mel.first
        if row < 0 or row + MEL_ROWS > len(mel.rows):
            have = f"{mel.first} … {mel.first + len(mel.rows) - 1}"
            raise ValueError(f"mel rows from {row + mel.first} on are needed, the chunk has {have}")
        return mel.rows[row : row + MEL_ROWS]

    def _state_at(self, state: MiniState, position: Fraction) -> Tensor:
        """Linear interpolation between the two states around a grid position."""
        low = math.floor(position)
        share = float(position - low)
        before = state.z[low - state.first_index]
        return before if share == 0 else torch.lerp(before, state.z[low + 1 - state.first_index], share)

    def _forget(self, state: MiniState, before: int) -> None:
        drop = max(0, before - state.first_index)
        state.z, state.first_index = state.z[drop:], state.first_index + drop

    def _varied(self, z: Tensor) -> Tensor:
        """References ``[r latent]`` as the flow gets them: closed and open variants of lips that never move.

        A portrait, or a speaker who listens during the first second, would pass for somebody who hardly moves.
        """
        if not self._is_still(z):
            return z
        aperture = self.networks.encoder.aperture(z)
        order = aperture.argsort()
        wanted = aperture[order].clone()
        wanted[0], wanted[-1] = wanted[0].clamp(max=CLOSED_APERTURE), wanted[-1].clamp(min=OPEN_APERTURE)
        return z[order] + (wanted - aperture[order])[:, None] * self.networks.flow.opening

    def _rest(self, z: Tensor) -> Tensor:
        """The most closed reference, closed for good, or the training set's mouth where its lips are far apart."""
        encoder, general = self.networks.encoder, self.networks.flow.rest
        best = z[encoder.aperture(z).argmin()]
        ajar, closed = encoder.parting(torch.stack([best, general]))
        return best - (ajar - closed) * self.networks.flow.opening if ajar - closed < AJAR else general

    def _calibrate(self, crops: Sequence[Crop], z: Tensor) -> Calibration:
        """From all the crops and their states, so that the trembling of single landmarks does not count."""
        seen = np.stack([(crop.landmarks[list(POINTS)] + 0.5) / len(crop.rgb) for crop in crops])
        return calibrate(self.networks.encoder.landmarks(z), torch.from_numpy(seen).to(z), still=self._is_still(z))

    def _is_still(self, z: Tensor) -> bool:
        aperture = self.networks.encoder.aperture(z)
        return bool(aperture.max() - aperture.min() < STILL_RANGE)

    def _choose(self, crops: Sequence[Crop]) -> list[int]:
        """``config.references`` indices spread evenly over the apertures that occur."""
        apertures = [mouth_aperture(crop.landmarks) for crop in crops]
        return [int(index) for index in from_closed_to_open(apertures, self.config.references)]

    def _pixels(self, crops: Sequence[Crop]) -> Tensor:
        return pixels_of(crops, self._prototype)


def load_mini(card: ModelCard) -> tuple[MiniNetworks, MiniConfig]:
    """Networks of an embedded model and what its card says of them; ModelError for one that cannot be read."""
    require_version(card, kind=KIND, version=VERSION)
    config = read_config(card.generator, model=card.name)
    return load_networks(resolve_weights(card, "networks"), config), config


def load_networks(path: Path, config: MiniConfig) -> MiniNetworks:
    """Networks with the weights of a safetensors file, whose keys and shapes must be exactly the code's."""
    with torch.device("meta"):
        networks = MiniNetworks(config)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no readable safetensors file: {error}", hint="Reinstall the model.") from error
    check_state_dict({key: value.shape for key, value in networks.state_dict().items()}, tensors, path)
    networks.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True, assign=True)
    return networks
