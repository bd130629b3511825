"""The crops of a chunk drawn from mouth states: side by side on a CPU, one after the other where a GPU draws."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, Float32
from lipsync_cli.engines.mini import warping_opencv
from lipsync_cli.engines.mini.nn.frame_edit import edit_frames, predict_edit
from lipsync_cli.engines.mini.nn.renderer import Renderer
from lipsync_cli.engines.mini.nn.warping import RegionWindow, region_keep
from lipsync_cli.engines.mini.warping_opencv import RenderJob
from lipsync_cli.engines.model_clock import settled
from lipsync_cli.engines.sharpening import detail_sigma, sharpened, sharpened_images


class CropRenderer:
    """Draws jobs with a renderer; on a CPU a chunk's are shared out among ``threads``, which draw what they get
    together."""

    def __init__(self, renderer: Renderer, *, sharpen: float, on_cpu: bool, threads: int = 1) -> None:
        self.renderer, self.sharpen, self.on_cpu, self.threads = renderer, sharpen, on_cpu, threads
        several = on_cpu and threads > 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lipsync-draw") if several else None

    def draw(self, jobs: Sequence[RenderJob], *, leave: bool = False) -> list[Float32 | Tensor]:
        """``GeneratedCrop.rgb`` of each; with ``leave`` on the device that drew it."""
        if not self.on_cpu:
            return [self._on_device(job, leave=leave) for job in jobs]
        each = -(-len(jobs) // self.threads)
        parts = [jobs[first : first + each] for first in range(0, len(jobs), each)]
        drawn = map(self._on_cpu, parts) if self._pool is None else self._pool.map(self._on_cpu, parts)
        pictures = [picture for part in drawn for picture in part]
        return [torch.from_numpy(picture) for picture in pictures] if leave else [*pictures]

    # Threads have inference modes of their own.
    @torch.inference_mode()
    def _on_cpu(self, jobs: Sequence[RenderJob]) -> list[Float32]:
        frames = [job.crop.rgb.astype(np.float32) * np.float32(1 / 255) for job in jobs]
        windows, where = warping_opencv.draw(self.renderer, jobs, frames)
        for frame, window, job in zip(frames, windows, jobs, strict=True):
            drawn = sharpened(window, self.sharpen, self._sigma(job.crop))
            frame[where.rows, where.columns] = warping_opencv.edit_frame(job, frame, drawn, where).clip(0, 1)
        return frames

    def _on_device(self, job: RenderJob, *, leave: bool) -> Float32 | Tensor:
        pixels = pixels_of([job.crop], job.z)
        image = self.renderer(pixels, job.z, job.points, job.references, job.selection_points).image.float()
        drawn = sharpened_images(image, self.sharpen, self._sigma(job.crop))
        size, frame = job.references.network_size, pixels.float()
        window = RegionWindow.of(size).enlarged(frame.shape[-1] // size)
        edit = predict_edit(job.own_points.float(), (job.points + job.references.shift).float(), size)
        edited = window.paste(edit_frames(edit, frame, window.fine(drawn), window), frame)
        edited = torch.where(region_keep(frame.shape[-1], frame) > 0.5, frame, edited)
        picture = edited.clamp(0, 1)[0].permute(1, 2, 0)
        return settled(picture) if leave else np.ascontiguousarray(picture.cpu().numpy())

    @staticmethod
    def _sigma(crop: Crop) -> float:
        return detail_sigma(len(crop.rgb), crop.enlargement)


def pixels_of(crops: Sequence[Crop], like: Tensor) -> Tensor:
    """Crops as the networks take them, ``[n 3 s s]`` in [0, 1], where and of which type ``like`` is."""
    stacked = torch.from_numpy(np.stack([crop.rgb for crop in crops])).to(like.device)
    return (stacked.permute(0, 3, 1, 2).to(like.dtype) / 255).contiguous(memory_format=torch.channels_last)
