"""Where training computes: devices and types by name, batches in parts, half precision, TensorBoard."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.warping import Fields, RegionWindow, warp
from lipsync_cli.training.common.image_losses import gradient_l1, structural_dissimilarity, weighted_l1
from lipsync_cli.training.common.launch import started, training_device
from lipsync_cli.training.common.noise import Noise, part_seed
from lipsync_cli.training.common.runtime import Runtime
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.autoencoder import AutoencoderRecipe
from lipsync_cli.training.mini.points import PointsRecipe
from lipsync_cli.training.mini.recipe import MiniRecipe, load_recipe, recipe_names
from lipsync_cli.training.mini.run import Run, train_all, train_pictures
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.small_stages import STAGES, flow, fresh


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("runtime") / "prepared", clips, frames=26)


def test_the_noise_of_all_is_the_noise_of_each():
    together, parts = Noise(7, (0, 1, 2)), [Noise(7, (part,)) for part in range(3)]
    assert {together.common_integer(1000)} == {part.common_integer(1000) for part in parts}
    for draw, shape in (("normal", (6, 5)), ("uniform", (3,)), ("normal", (9, 2, 4))):
        own = (shape[0] // 3, *shape[1:])
        expected = torch.cat([getattr(part, draw)(own) for part in parts])
        assert torch.equal(getattr(together, draw)(shape), expected)
        assert len({float(value) for value in expected.flatten()}) == expected.numel()


def test_part_0_draws_what_a_single_process_always_drew():
    generator, noise = torch.Generator().manual_seed(3), Noise(3)
    assert noise.common_integer(5) == int(torch.randint(5, (1,), generator=generator))
    assert torch.equal(noise.normal((4, 2)), torch.randn(4, 2, generator=generator))
    assert torch.equal(noise.uniform((3,)), torch.rand(3, generator=generator))
    assert torch.equal(noise.integers(9, (2, 2)), torch.randint(9, (2, 2), generator=generator))


def test_shares_are_equal_and_cover_the_batch():
    def make(seed: int, size: int) -> tuple[torch.Tensor]:
        return (torch.full((size,), float(seed % 1000)),)

    whole = Runtime(parts=4).draw(make, seed=5, size=8)[0]
    shares = [Runtime(rank=rank, processes=2, parts=4).draw(make, seed=5, size=8)[0] for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)
    assert whole.tolist() == [float(part_seed(5, part) % 1000) for part in range(4) for _ in range(2)]
    with pytest.raises(UsageError, match=r"teacher.batch = 6 .* among 4 processes"):
        Runtime(parts=4).check_batch(6, "teacher.batch")


def test_a_batch_that_three_cannot_share_is_refused_before_anything_is_trained(prepared, tmp_path):
    run = Run(prepared, tmp_path / "runs", MiniRecipe(), print, runtime=Runtime(processes=3, parts=3))
    with pytest.raises(UsageError, match=r"autoencoder\[0\].sequences = 4 of the recipe .* among 3 processes"):
        train_all(run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", recipe_names())
def test_two_processes_can_share_every_recipe_that_comes_with_the_tool(name):
    recipe = load_recipe(name)
    assert {"teacher.batch", "causal.batch", "sync.batch"} <= recipe.batches().keys()
    assert ("points.clips" in recipe.batches()) == bool(recipe.autoencoder)
    for where, size in recipe.batches().items():
        Runtime(parts=2).check_batch(size, where)


@pytest.mark.parametrize("device", ["gpu", "mps", "cpu:1", "cuda:x", "cuda:-1", ""])
def test_a_device_that_is_no_device_is_a_usage_error(device):
    with pytest.raises(UsageError, match=r"auto, cpu, cuda or cuda:N"):
        training_device(device)


def test_a_device_that_is_not_there_is_an_environment_problem(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device("auto") == "cpu"
    for device in ("cuda", "cuda:3"):
        with pytest.raises(EnvironmentProblem, match="There is no cuda device here"):
            training_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (training_device("auto"), training_device("cuda:1")) == ("cuda", "cuda:1")
    with pytest.raises(EnvironmentProblem, match=r"no cuda:2 here: CUDA devices are numbered 0 to 1"):
        training_device("cuda:2")


def test_a_type_that_is_no_type_is_a_usage_error():
    with pytest.raises(UsageError, match="auto, float32, bfloat16"), started("cpu", "float16"):
        pass


@pytest.mark.parametrize("command", ["mini", "sync"])
def test_the_commands_refuse_a_wrong_device_in_one_sentence(command, tmp_path):
    line = ["train", command, "--device", "tpu", "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2 and "--device must be auto, cpu, cuda or cuda:N, got 'tpu'." in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variables", "device", "error", "words"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "cpu", UsageError, "FSDP shards weights"),
        ({}, "cuda:0", UsageError, "cannot all compute on cuda:0"),
        ({}, "cuda", EnvironmentProblem, "2 processes need as many GPUs, and there are 1"),
    ],
)
def test_processes_that_cannot_work_together_are_told(variables, device, error, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error, match=words), started(device):
        pass


def test_several_processes_without_accelerate_are_told_what_to_install(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(EnvironmentProblem, match="needs the package accelerate"), started("cpu"):
        pass


@pytest.mark.parametrize(
    ("name", "start"), [("sharpen", lambda: fresh().renderer), ("student", lambda: flow(CausalFlow))]
)
def test_half_precision_learns_nearly_the_same_and_keeps_full_weights(name, start, prepared, tmp_path):
    full = STAGES[name](prepared, tmp_path / "full", Runtime())
    half = STAGES[name](prepared, tmp_path / "half", Runtime(dtype=torch.bfloat16))
    assert all(value.dtype == full[key].dtype for key, value in half.items())
    before = start().state_dict()
    steps = [torch.cat([(after[key] - before[key]).flatten() for key in before]) for after in (full, half)]
    assert not torch.equal(*steps)
    assert float(torch.cosine_similarity(*steps, dim=0)) > 0.8


def test_pixels_are_taken_from_the_same_place_in_half_precision():
    """A ramp shows where a pixel came from; fields of no displacement must bring every pixel back to its place."""
    window = RegionWindow.of(128)
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 3, 128, 128).contiguous()
    height, width = (length // 4 for length in window.shape)
    fields = Fields(torch.zeros(1, 1, 2, height, width).bfloat16(), torch.zeros(1, 1, height, width).bfloat16())
    taken = warp(fields, ramp, window)
    assert taken.dtype == torch.float32
    assert float((taken - window.fine(ramp[:, 0])).abs().max()) < 0.1 / 128
    assert warp(fields, ramp.bfloat16(), window).dtype == torch.bfloat16


def test_where_nothing_is_shown_nothing_is_lost():
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    nothing, target = torch.zeros(2, 1, 16, 16), torch.rand(2, 3, 16, 16)
    lost = sum(loss(image, target, nothing) for loss in (weighted_l1, gradient_l1, structural_dissimilarity))
    lost.backward()
    assert float(lost.detach()) == 0 and not image.grad.any()


def test_every_process_decodes_a_clip_into_a_file_of_its_own(prepared, tmp_path, monkeypatch):
    """As two processes would that want it at the same time: the first is in the middle of writing."""
    one, two = (load_clips(prepared, "val", cache=tmp_path)[0].crops for _ in range(2))
    save, names = np.save, []

    def interrupted(path: Path, crops: np.ndarray) -> None:
        names.append(path)
        monkeypatch.setattr("os.getpid", lambda: 2)
        if len(names) == 1:
            assert two[0].any()
        save(path, crops)

    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("lipsync_cli.training.dataset.format.np.save", interrupted)
    assert np.array_equal(one[0], two[0]) and len(set(names)) == 2


class Recorder:
    """Stands in for SummaryWriter."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(parents=True)
        self.scalars: list[tuple] = []
        self.images: list[tuple] = []
        self.closed = False
        Recorder.last = self

    def add_scalar(self, *row) -> None:
        self.scalars.append(row)

    def add_image(self, tag, pixels, step, dataformats) -> None:
        self.images.append((tag, pixels.shape, pixels.dtype, step, dataformats))

    def close(self) -> None:
        self.closed = True


def test_figures_and_previews_go_to_tensorboard(prepared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Recorder))
    phase = AutoencoderRecipe(crop_size=32, steps=2, sequences=1, targets=1, references=2, save_every=2)
    recipe = MiniRecipe(autoencoder=(phase,), points=PointsRecipe(steps=1, clips=1, frames=2))
    with started("cpu", board=tmp_path / "board") as runtime:
        run = Run(prepared, tmp_path / "runs", recipe, lambda line: None, runtime=runtime)
        train_pictures(run, run.clips("train"))
    tags = {tag for tag, _, _ in Recorder.last.scalars}
    assert {"autoencoder-32/l1", "autoencoder-32/norm", "points/loss"} <= tags
    assert Recorder.last.images == [("autoencoder-32/preview", (1152, 1152, 3), np.uint8, 2, "HWC")]
    assert Recorder.last.closed


def test_without_tensorboard_one_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    wanted = pytest.raises(EnvironmentProblem, match="needs the package tensorboard")
    with wanted as caught, started("cpu", board=tmp_path):
        pass
    assert "pip install tensorboard" in caught.value.hint


def test_tensorboard_reads_what_is_written(tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with started("cpu", board=tmp_path) as runtime:
        runtime.board.figures("causal", 4, {"loss": 0.25})
        runtime.board.picture("sharpen", 9, np.zeros((4, 6, 3), np.uint8))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("causal/loss")] == [(4, 0.25)]
    assert [(e.step, e.width, e.height) for e in events.Images("sharpen/preview")] == [(9, 6, 4)]
