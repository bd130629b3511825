"""The UNet: published names and shapes, an independent implementation, short passes, wrong checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.core.errors import ModelError
from lipsync_cli.engines.latentsync.nn.unet import LatentSyncUNet, UNetSizes, create_unet
from lipsync_cli.engines.latentsync.nn.unet_keys import Family, family, unet_tensors
from lipsync_cli.nn.checkpoints import load_strictly
from tests.helpers.narrow_latentsync import published_unet
from tests.helpers.reference_unet import ReferenceUNet

HERE = Path(__file__).parent
NARROW = {"widths": (8, 8, 16, 16), "layers": 2, "heads": 2, "groups": 4, "audio_width": 12, "positions": 6}


def table(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released file."""
    lines = (line.split("\t") for line in (HERE / f"{name}.tsv").read_text().splitlines())
    return {key: tuple(map(int, shape.split(","))) for key, shape in lines}


def on_meta(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in table(name).items()}


def make_net(*, motion: bool) -> torch.nn.Module:
    """Weights that make everything depend on everything."""
    torch.manual_seed(0)
    net = create_unet(UNetSizes(**NARROW, motion=motion)).eval().requires_grad_(False)
    for key, value in net.named_parameters():
        if value.ndim == 1:
            value.add_(0.3 * torch.randn_like(value))
        elif "attn" in key:
            value.mul_(2)
    return net


def inputs(batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, frames, 13, 16, 16, generator=generator)
    return x, torch.randn(batch, frames, 10, NARROW["audio_width"], generator=generator)


@pytest.mark.parametrize(
    ("name", "motion", "tensors", "numbers"),
    [("unet_v10", False, 686, 849_962_244), ("unet_v15_v16", True, 1246, 1_267_099_844 + 844_800)],
)
def test_names_and_shapes_are_the_published_ones(name, motion, tensors, numbers):
    with torch.device("meta"):
        net = create_unet(UNetSizes(motion=motion))
    file = on_meta(name)
    assert len(file) == tensors and sum(value.numel() for value in file.values()) == numbers
    renamed = unet_tensors(file, motion=motion)
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in net.state_dict().items()}
    assert family(renamed) is (Family.V1_5 if motion else Family.V1_0)  # converted files are known again
    # The names we give back in tests are the file's own.
    assert published_unet(net, old=not motion).keys() == file.keys()


def test_the_published_files_are_those_tensors_in_float32():
    """5,072,222,488 bytes of 1.6: four for each number and some 360 of zip headers for each tensor."""
    numbers = sum(value.numel() for value in on_meta("unet_v15_v16").values())
    for size in (5_072_222_488, 5_072_348_184):
        assert 300 < (size - 4 * numbers) / 1246 < 500


@pytest.mark.parametrize("motion", [True, False])
@pytest.mark.parametrize(("batch", "frames"), [(2, 4), (1, 1)])
def test_it_computes_what_the_description_says(motion, batch, frames):
    net = make_net(motion=motion)
    reference = ReferenceUNet(published_unet(net, old=not motion), heads=2, groups=4, old=not motion)
    x, audio = inputs(batch, frames)
    noise, _ = LatentSyncUNet(net).predict(x, 951, audio)
    expected = reference(x.transpose(1, 2), 951, audio).transpose(1, 2)
    assert expected.std() > 0.1
    torch.testing.assert_close(noise, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("motion", [True, False])
def test_windows_of_a_batch_do_not_see_each_other_and_their_frames_do(motion):
    unet, (x, audio) = LatentSyncUNet(make_net(motion=motion)), inputs(2, 3)
    both, _ = unet.predict(x, 500, audio)
    alone, _ = unet.predict(x[1:], 500, audio[1:])
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)
    other = x.clone()
    other[0, 2] += torch.randn(13, 16, 16, generator=torch.Generator().manual_seed(2))
    changed, _ = unet.predict(other, 500, audio)
    assert (changed - both)[0, 0].abs().max() > 1e-4
    torch.testing.assert_close(changed[1], both[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("motion", [True, False])
def test_a_short_pass_after_a_full_one_gives_the_same_and_hears_anew(motion):
    unet, (x, audio) = LatentSyncUNet(make_net(motion=motion)), inputs(2, 3)
    noise, deep = unet.predict(x, 500, audio)
    torch.testing.assert_close(unet.predict_again(x, 500, audio, deep), noise, atol=1e-5, rtol=1e-5)
    for x2, t2, audio2 in ((x + 0.3, 500, audio), (x, 400, audio), (x, 500, audio + 0.5)):
        assert (unet.predict_again(x2, t2, audio2, deep) - noise).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "motion", "change", "said"),
    [
        ("unet_v10", True, lambda f: f, "are LatentSync 1.0; LatentSync 1.5 or 1.6 was expected"),
        ("unet_v15_v16", False, lambda f: f, "are LatentSync 1.5 or 1.6; LatentSync 1.0 was expected"),
        (
            "unet_v15_v16", True,
            lambda f: {k: v for k, v in f.items() if ".motion_modules." not in k or k.startswith("up_")},
            "motion modules in the decoder alone",
        ),
        ("unet_v10", True, lambda f: {k: v for k, v in f.items() if "resnets" not in k}, "no LatentSync UNet"),
    ],
)  # fmt: skip
def test_another_version_is_named(name, motion, change, said):
    file = change(on_meta(name))
    if "alone" in said:
        assert len(file) == 1022
    with pytest.raises(ModelError) as error:
        unet_tensors(file, motion=motion)
    assert said in error.value.message and error.value.hint


def test_what_is_missing_too_much_or_misshapen_is_listed(tmp_path):
    sizes = UNetSizes(**NARROW)
    file = published_unet(make_net(motion=True))
    first = next(key for key in file if key.endswith("attention_blocks.1.pos_encoder.pe"))
    file[first] = file[first] + 1  # the two tables of a module must be one
    file["conv_out.bias"] = torch.zeros(5)
    torch.save({"state_dict": file, "global_step": 1}, tmp_path / "latentsync_unet.pt")
    with pytest.raises(ModelError) as error:
        load_strictly(
            lambda: create_unet(sizes), tmp_path / "latentsync_unet.pt", rename=lambda t: unet_tensors(t, motion=True)
        )
    for part in ("1 missing", "2 unexpected", "pos_encoder.pe", "conv_out.bias [5] instead of [4]"):
        assert part in error.value.message
