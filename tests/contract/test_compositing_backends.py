"""What every compositing backend keeps: above all, it leaves alone what is not the mouth's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.compositing.numpy_backend import NumpyBackend
from lipsync_cli.compositing.protocol import CompositingBackend
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.core.types import GeneratedCrop, Patch
from tests.helpers.composite_scenes import (
    FORMATS,
    ORIENTED,
    alignment,
    assert_untouched_outside,
    crop_of,
    frame_of,
    planes_from_rgb,
    smooth_rgb,
    unchanged,
    video,
    wild,
)

BACKENDS = {
    "numpy": NumpyBackend,
    "torch": lambda: TorchBackend(torch.device("cpu")),
    "torch-cuda": lambda: TorchBackend(torch.device("cuda")),
}


@pytest.fixture(params=["numpy", "torch", pytest.param("torch-cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> CompositingBackend:
    return BACKENDS[request.param]()


def on_device(rgb: np.ndarray, backend: CompositingBackend) -> torch.Tensor:
    """A crop as a generator leaves it where ``backend`` works."""
    return torch.from_numpy(rgb).to(getattr(backend, "device", "cpu"))


class TestCompositingBackend:
    """The contract of CompositingBackend, checked through the compositor that asks it."""

    @pytest.mark.parametrize("pix_fmt", FORMATS)
    @pytest.mark.parametrize("face", [60.0, 120.0, 200.0])
    def test_blend_leaves_every_bit_outside_the_mask(
        self, backend: CompositingBackend, pix_fmt: str, face: float
    ) -> None:
        info = video(pix_fmt)
        rgb = smooth_rgb(info.width, info.height)
        frame, placed = frame_of(info, rgb, noise=3), alignment(info, face=face)
        out = Compositor(info, backend=backend).blend(frame, [wild(unchanged(crop_of(rgb, placed)))])
        assert assert_untouched_outside(info, frame, out, placed) > 500
        assert out.index == frame.index and out.pts == frame.pts and out.rgb is None

    @pytest.mark.parametrize("pix_fmt", FORMATS)
    @pytest.mark.parametrize("keep_detail", [False, True])
    def test_blend_of_an_unchanged_crop_changes_less_than_one_code_value(
        self, backend: CompositingBackend, pix_fmt: str, keep_detail: bool
    ) -> None:
        info = video(pix_fmt)
        rgb = smooth_rgb(info.width, info.height)
        frame, placed = frame_of(info, rgb), alignment(info)
        out = Compositor(info, backend=backend, keep_detail=keep_detail).blend(
            frame, [unchanged(crop_of(rgb, placed))]
        )
        unit = 1 << (pixel_format(pix_fmt).depth - 8)
        for old, new in zip(frame.planes, out.planes, strict=True):
            difference = np.abs(old.astype(int) - new.astype(int)) / unit
            assert difference.max() <= (0 if keep_detail else 2)
            assert difference[difference > 0].size == 0 or difference[difference > 0].mean() < 1.2
            assert difference.mean() < 0.1

    @pytest.mark.parametrize("changes", ORIENTED)
    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
    def test_blend_follows_rotated_and_anamorphic_pictures(
        self, backend: CompositingBackend, pix_fmt: str, changes: dict[str, object]
    ) -> None:
        info = video(pix_fmt, **changes)
        rgb = smooth_rgb(info.width, info.height)
        frame, placed = frame_of(info, rgb), alignment(info)
        crop = crop_of(rgb, placed)
        same = Compositor(info, backend=backend, keep_detail=False).blend(frame, [unchanged(crop)])
        unit = 1 << (info.bit_depth - 8)
        for old, new in zip(frame.planes, same.planes, strict=True):
            assert np.abs(old.astype(int) - new.astype(int)).max() <= 2 * unit
        assert (
            assert_untouched_outside(
                info, frame, Compositor(info, backend=backend).blend(frame, [wild(unchanged(crop))]), placed
            )
            > 500
        )

    @pytest.mark.parametrize("face", [40.0, 150.0])
    def test_blend_puts_a_feature_where_it_was_generated(self, backend: CompositingBackend, face: float) -> None:
        """A soft dot at a known place of the crop appears at that place of the picture, to a tenth of a pixel."""
        info, size = video("yuv444p"), 96
        rgb = np.full((info.height, info.width, 3), 0.4, np.float32)
        placed = alignment(info, size, face=face, angle=0.2, at=(151.3, 118.7))
        y, x = np.mgrid[0:size, 0:size]
        dot = np.exp(-((x - 50.25) ** 2 + (y - 62.5) ** 2) / (2 * 5.0**2)).astype(np.float32)
        crop = crop_of(rgb, placed)
        patch = Patch(GeneratedCrop(crop.rgb / np.float32(255) + 0.5 * dot[..., None]), crop)
        frame = frame_of(info, rgb)
        out = Compositor(info, backend=backend, color_match=False).blend(frame, [patch])
        lift = out.planes[0].astype(float) - frame.planes[0]
        rows, columns = np.mgrid[0 : info.height, 0 : info.width]
        centre = np.array([(lift * columns).sum(), (lift * rows).sum()]) / lift.sum()
        landed = placed.matrix[:, :2] @ centre + placed.matrix[:, 2]
        np.testing.assert_allclose(landed, [50.25, 62.5], atol=0.1 * size / face)

    def test_blend_scales_the_change_by_the_weight_and_leaves_its_input(self, backend: CompositingBackend) -> None:
        info = video("yuv420p10le")
        rgb = smooth_rgb(info.width, info.height)
        frame, patch = frame_of(info, rgb), wild(unchanged(crop_of(rgb, alignment(info))))
        before = [plane.copy() for plane in frame.planes]
        full, half = (Compositor(info, backend=backend).blend(frame, [replace(patch, weight=w)]) for w in (1.0, 0.5))
        for index, old in enumerate(before):
            np.testing.assert_array_equal(frame.planes[index], old)
            whole, part = (f.planes[index].astype(float) - old for f in (full, half))
            np.testing.assert_allclose(part, whole / 2, atol=1.01)

    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "gbrp", "yuv444p10le"])
    @pytest.mark.parametrize("shift", [(0.08, 0.08, 0.08), (0.1, -0.04, -0.08)])
    def test_color_match_removes_a_shift(
        self, backend: CompositingBackend, pix_fmt: str, shift: tuple[float, float, float]
    ) -> None:
        info = video(pix_fmt)
        rgb = smooth_rgb(info.width, info.height)
        frame, crop = frame_of(info, rgb), crop_of(rgb, alignment(info))
        patch = Patch(GeneratedCrop(np.clip(crop.rgb / np.float32(255) + np.float32(shift), 0, 1)), crop)
        unit = 1 << (info.bit_depth - 8)
        out = Compositor(info, backend=backend).blend(frame, [patch])
        raw = Compositor(info, backend=backend, color_match=False, keep_detail=False).blend(frame, [patch])
        for old, new in zip(frame.planes, out.planes, strict=True):
            assert np.abs(old.astype(int) - new.astype(int)).max() <= 1.5 * unit
        assert max(np.abs(a.astype(int) - b).max() for a, b in zip(frame.planes, raw.planes, strict=True)) > 8 * unit

    def test_color_match_ignores_a_chin_in_the_ring(self, backend: CompositingBackend) -> None:
        """Something new in a quarter of the soft edge must not tint the rest of the patch."""
        info, size = video("yuv444p"), 96
        rgb = np.full((info.height, info.width, 3), 0.5, np.float32)
        frame, crop = frame_of(info, rgb), crop_of(rgb, alignment(info, size))
        generated = np.full((size, size, 3), 0.55, np.float32)
        generated[int(0.82 * size) :, int(0.35 * size) : int(0.65 * size)] -= 0.3
        out = Compositor(info, backend=backend).blend(frame, [Patch(GeneratedCrop(generated), crop)])
        mouth = out.planes[0][115:125, 150:170].astype(float) - frame.planes[0][115:125, 150:170]
        assert np.abs(mouth).max() <= 2

    def test_keep_detail_keeps_the_pictures_own_where_nothing_changed(self, backend: CompositingBackend) -> None:
        """Grain finer than the crop survives beside a changed mouth, and is gone inside it."""
        info, size = video("yuv420p"), 64
        rgb = np.full((info.height, info.width, 3), 0.5, np.float32)
        frame, crop = frame_of(info, rgb, noise=4), crop_of(rgb, alignment(info, size, face=180, angle=0))
        generated = crop.rgb / np.float32(255)
        generated[28:38, 22:42] = 0.2
        out = Compositor(info, backend=backend).blend(frame, [Patch(GeneratedCrop(generated), crop)])
        cheek, mouth = (slice(140, 150), slice(105, 115)), (slice(117, 124), slice(145, 175))
        assert out.planes[0][cheek].std() > 0.9 * frame.planes[0][cheek].std()
        assert out.planes[0][mouth].std() < 0.2 * frame.planes[0][mouth].std()

    def test_blend_of_ten_bits_is_as_fine_as_they_are(self, backend: CompositingBackend) -> None:
        info = video("yuv420p10le")
        ramp = np.repeat(np.linspace(0.45, 0.5, info.width, dtype=np.float32)[None, :, None], info.height, 0)
        rgb = np.repeat(ramp, 3, axis=2)
        frame, crop = frame_of(info, rgb), crop_of(rgb, alignment(info, angle=0))
        columns = crop.alignment.matrix
        x = (np.arange(96) - columns[0, 2]) / columns[0, 0]
        exact = np.interp(x, np.arange(info.width), rgb[0, :, 0]).astype(np.float32)
        patch = Patch(GeneratedCrop(np.broadcast_to(exact[None, :, None], (96, 96, 3)).copy()), crop)
        out = Compositor(info, backend=backend, color_match=False, keep_detail=False).blend(frame, [patch])
        row = out.planes[0][130, 110:210].astype(int)
        np.testing.assert_allclose(row, frame.planes[0][130, 110:210].astype(int), atol=1)
        assert len(np.unique(row)) > 12 and (row % 4 != 0).any()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        pix_fmt=st.sampled_from(["yuv420p", "yuv422p10le", "gbrp", "gray"]),
        size=st.sampled_from([64, 96]),
        shape=st.tuples(st.integers(17, 90), st.integers(17, 90)),
        face=st.floats(8, 400),
        angle=st.floats(-3.2, 3.2),
        at=st.tuples(st.floats(-60, 150), st.floats(-60, 150)),
        rotation=st.sampled_from([0, 90, 180, 270]),
    )
    def test_blend_is_safe_for_any_alignment(
        self,
        backend: CompositingBackend,
        pix_fmt: str,
        size: int,
        shape: tuple[int, int],
        face: float,
        angle: float,
        at: tuple[float, float],
        rotation: int,
    ) -> None:
        info = video(pix_fmt, *shape, rotation=rotation)
        rgb = smooth_rgb(*shape)
        frame, placed = frame_of(info, rgb, noise=2), alignment(info, size, face=face, angle=angle, at=at)
        out = Compositor(info, backend=backend).blend(frame, [wild(unchanged(crop_of(rgb, placed)))])
        assert_untouched_outside(info, frame, out, placed)

    def test_blend_of_odd_sizes(self, backend: CompositingBackend) -> None:
        info = video("yuv420p", 161, 121)
        rgb = smooth_rgb(161, 121)
        assert [p.shape for p in planes_from_rgb(rgb, pixel_format("yuv420p"), info.color)] == [
            (121, 161),
            (61, 81),
            (61, 81),
        ]
        frame, placed = frame_of(info, rgb), alignment(info, face=100, at=(150, 100))
        out = Compositor(info, backend=backend).blend(frame, [wild(unchanged(crop_of(rgb, placed)))])
        assert assert_untouched_outside(info, frame, out, placed) > 100

    def test_blend_from_several_threads_is_that_from_one(self, backend: CompositingBackend) -> None:
        info = video()
        rgb = smooth_rgb(info.width, info.height)
        frames = [frame_of(info, rgb, noise=3, index=index) for index in range(12)]
        patches = [wild(unchanged(crop_of(rgb, alignment(info, face=80.0 + index))), index) for index in range(12)]
        compositor = Compositor(info, backend=backend)
        expected = [compositor.blend(frame, [patch]) for frame, patch in zip(frames, patches, strict=True)]
        with ThreadPoolExecutor(4) as pool:
            actual = list(
                pool.map(lambda pair: compositor.blend(pair[0], [pair[1]]), zip(frames, patches, strict=True))
            )
        for one, other in zip(expected, actual, strict=True):
            assert all(np.array_equal(*planes) for planes in zip(one.planes, other.planes, strict=True))

    def test_blend_takes_planes_and_crops_that_cannot_be_written_to(
        self, backend: CompositingBackend, recwarn: pytest.WarningsRecorder
    ) -> None:
        info = video("yuv420p10le")
        rgb = smooth_rgb(info.width, info.height)
        frame, patch = frame_of(info, rgb), wild(unchanged(crop_of(rgb, alignment(info))))
        expected = Compositor(info, backend=backend).blend(frame, [patch])
        for array in (*frame.planes, patch.source.rgb, patch.drawing.rgb):
            array.flags.writeable = False
        again = Compositor(info, backend=backend).blend(frame, [patch])
        assert all(np.array_equal(*planes) for planes in zip(expected.planes, again.planes, strict=True))
        assert not recwarn.list

    def test_blend_takes_a_crop_that_stayed_on_the_device(self, backend: CompositingBackend) -> None:
        info = video()
        rgb = smooth_rgb(info.width, info.height)
        frame, patch = frame_of(info, rgb), wild(unchanged(crop_of(rgb, alignment(info))))
        left = replace(patch, drawing=GeneratedCrop(on_device(patch.drawing.rgb, backend)))
        here, there = (Compositor(info, backend=backend).blend(frame, [given]) for given in (patch, left))
        assert all(np.array_equal(*planes) for planes in zip(here.planes, there.planes, strict=True))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_blend_refuses_pixels_that_are_not_finite(self, backend: CompositingBackend, bad: float) -> None:
        info = video()
        rgb = smooth_rgb(info.width, info.height)
        frame, patch = frame_of(info, rgb), unchanged(crop_of(rgb, alignment(info)))
        pixels = patch.drawing.rgb.copy()
        pixels[3, 5, 1] = bad
        for rgb in (pixels, on_device(pixels, backend)):
            with pytest.raises(ValueError, match="finite"):
                Compositor(info, backend=backend).blend(frame, [replace(patch, drawing=GeneratedCrop(rgb))])
