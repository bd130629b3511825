"""SyncNet v2, the network behind Sync-C and Sync-D (Chung and Zisserman 2016, "Out of time: automated lip sync").

Names and shapes are those of the public ``syncnet_v2.model``, so that it loads as it is. Embeddings are not
normalised.
"""

from __future__ import annotations

from torch import Tensor, nn


class SyncNetV2(nn.Module):
    """Two towers into one space of 1024 numbers: 0.2 s of MFCCs and five frames of a face."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block2d(1, 64, 3, 1), nn.MaxPool2d(1, 1),
            *_block2d(64, 192, 3, 1), nn.MaxPool2d(3, (1, 2)),
            *_block2d(192, 384, 3, 1), *_block2d(384, 256, 3, 1), *_block2d(256, 256, 3, 1), nn.MaxPool2d(3, 2),
            *_block2d(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_block3d(3, 96, (5, 7, 7), stride=(1, 2, 2)), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block3d(96, 256, (1, 5, 5), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *(layer for _ in range(3) for layer in _block3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block3d(256, 512, (1, 6, 6)),
        )  # fmt: skip

    def sound(self, mfcc: Tensor) -> Tensor:
        """Embeddings ``[b 1024]`` of 20 columns of 13 cepstra, ``[b 1 13 20]``."""
        out: Tensor = self.netfcaud(self.netcnnaud(mfcc).flatten(1))
        return out

    def picture(self, frames: Tensor) -> Tensor:
        """Embeddings ``[b 1024]`` of five face crops, BGR in 0 … 255, ``[b 3 5 224 224]``."""
        out: Tensor = self.netfclip(self.netcnnlip(frames).flatten(1))
        return out


def _block2d(inputs: int, outputs: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]


def _block3d(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int, int],
    *,
    stride: tuple[int, int, int] = (1, 1, 1),
    padding: tuple[int, int, int] = (0, 0, 0),
) -> list[nn.Module]:
    return [nn.Conv3d(inputs, outputs, kernel, stride, padding), nn.BatchNorm3d(outputs), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
