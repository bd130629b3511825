"""Is the embedded model faster than a network of Wav2Lip's shape? ``python -m benchmarks.wav2lip_ratio [PRESET]``.

The other network is built here from its published shape (Prajwal et al. 2020: 96 × 96 faces with the reference
beside the masked frame, mel windows of 80 × 16, an encoder and decoder with skip connections, 36.3 M parameters),
with random weights and its batch norms folded into the convolutions, as it would be run. Both get one chunk of four
frames at a time, model only, in float32, by turns in one process; a busy machine slows both, so the ratio says more
than the fps.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from lipsync_cli import hub
from lipsync_cli.core.types import MEL_RATE, Alignment, Crop
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.protocol import CropChunk, MelSpan
from lipsync_cli.settings import resolve_settings

CHUNK, ROUNDS, WARM_UP = 4, 25, 3
PARAMETERS, TOLERANCE = 36.3e6, 0.1e6


class Layer(nn.Module):
    """Convolution and ReLU."""

    def __init__(self, i: int, o: int, kernel: int = 3, stride: int | tuple[int, int] = 1, *, pad: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, pad)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Residual(Layer):
    """The same with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class Grow(nn.Module):
    """Transposed convolution and ReLU: 1 → 3 pixels, or twice the size."""

    def __init__(self, i: int, o: int, *, first: bool = False) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(i, o, 3, 1) if first else nn.ConvTranspose2d(i, o, 3, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


def stage(first: nn.Module, channels: int, residuals: int) -> nn.Sequential:
    """A change of size followed by residual layers."""
    return nn.Sequential(first, *(Residual(channels) for _ in range(residuals)))


class Wav2LipShaped(nn.Module):
    """Faces ``[b 6 96 96]`` and mel windows ``[b 1 80 16]`` → faces ``[b 3 96 96]``."""

    def __init__(self) -> None:
        super().__init__()
        down = [(16, 32, 2), (32, 64, 3), (64, 128, 2), (128, 256, 2), (256, 512, 1)]
        self.face = nn.ModuleList(
            [
                Layer(6, 16, 7, pad=3),
                *(stage(Layer(i, o, stride=2), o, n) for i, o, n in down),
                nn.Sequential(Layer(512, 512, pad=0), Layer(512, 512, 1, pad=0)),
            ]
        )
        self.sound = nn.Sequential(
            stage(Layer(1, 32), 32, 2),
            stage(Layer(32, 64, stride=(3, 1)), 64, 2),
            stage(Layer(64, 128, stride=3), 128, 2),
            stage(Layer(128, 256, stride=(3, 2)), 256, 1),
            Layer(256, 512, pad=0),
            Layer(512, 512, 1, pad=0),
        )
        up = [(1024, 512, 2), (768, 384, 2), (512, 256, 2), (320, 128, 2), (160, 64, 2)]
        self.decoder = nn.ModuleList(
            [
                Layer(512, 512, 1, pad=0),
                stage(Grow(1024, 512, first=True), 512, 1),
                *(stage(Grow(i, o), o, n) for i, o, n in up),
            ]
        )
        self.out = nn.Sequential(Layer(80, 32), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, faces: Tensor, mel: Tensor) -> Tensor:
        skips = []
        for block in self.face:
            faces = block(faces)
            skips.append(faces)
        x = self.sound(mel)
        for block in self.decoder:
            x = torch.cat([block(x), skips.pop()], 1)
        out: Tensor = self.out(x)
        return out


def theirs() -> Callable[[], object]:
    """One chunk of the other network, in whichever memory layout it runs faster."""
    torch.manual_seed(0)
    network = Wav2LipShaped().eval()
    count = sum(p.numel() for p in network.parameters())
    sys.stdout.write(f"Wav2Lip-shaped network: {count / 1e6:.2f} M parameters, 96×96\n")
    if abs(count - PARAMETERS) > TOLERANCE:
        raise SystemExit(f"that is not {PARAMETERS / 1e6:g} M ± {TOLERANCE / 1e6:g} M")
    faces, mel = torch.rand(CHUNK, 6, 96, 96), torch.rand(CHUNK, 1, 80, 16)
    plain = network
    last = Wav2LipShaped().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last_faces = faces.contiguous(memory_format=torch.channels_last)
    ways: list[Callable[[], object]] = [lambda: plain(faces, mel), lambda: last(last_faces, mel)]
    return min(ways, key=lambda way: min(seconds(way) for _ in range(WARM_UP + 2)))


def ours(preset: str) -> Callable[[], object]:
    """One chunk of the embedded model: flow, renderer, and the copies between them, endlessly."""
    resolved = resolve_settings(preset, {}, environ={"XDG_CONFIG_HOME": "/nonexistent"})
    generator = load_model(hub.load_card("lip-forcing-mini"), resolved.options.for_kind("lip-forcing-mini")[0])
    spec = generator.spec
    sys.stdout.write(f"{spec.name}, preset {preset}: {spec.crop_size}×{spec.crop_size}\n")
    rng, size = np.random.default_rng(0), spec.crop_size
    alignment = Alignment(np.array([[1.0, 0, 0], [0, 1, 0]]), size)
    crops = tuple(
        Crop(rng.integers(0, 256, (size, size, 3), np.uint8), alignment, rng.uniform(0, size, (68, 2)))
        for _ in range(CHUNK)
    )
    state, rows = generator.begin(crops, Fraction(0), seed=0), rng.normal(0, 1, (200, 80)).astype(np.float32)
    first = 0

    def step() -> object:
        nonlocal first
        times = tuple(Fraction(first + i, 25) for i in range(CHUNK))
        first += CHUNK
        mel = MelSpan(rows, int(times[0] * MEL_RATE) - 100)
        return generator.step(state, CropChunk(crops, times, mel, np.zeros(CHUNK, np.float32)))

    return step


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@torch.inference_mode()
def main() -> None:
    """Print both speeds and the ratio: medians over rounds, the ratio's own median among them."""
    preset = sys.argv[1] if len(sys.argv) > 1 else "realtime"
    other, embedded = theirs(), ours(preset)
    for _ in range(WARM_UP):
        other(), embedded()
    pairs = [(seconds(other), seconds(embedded)) for _ in range(ROUNDS)]
    fps = [CHUNK / statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(a / b for a, b in pairs)
    sys.stdout.write(
        f"{torch.get_num_threads()} threads, {ROUNDS} rounds by turns, medians: Wav2Lip-shaped {fps[0]:.1f} fps, "
        f"lip-forcing-mini {fps[1]:.1f} fps, ratio {ratio:.2f} (wanted: 1.5)\n"
    )


if __name__ == "__main__":
    main()
