"""On a GPU the stages get the batches of the CPU and learn nearly the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.training.common.launch import started
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import Runtime
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.small_stages import STAGES, small_sync, stopped_at_first_save

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "b"), ("train", "c"), ("train", "d"), ("val", "e")]
    return write_prepared(tmp_path_factory.mktemp("gpu") / "prepared", clips, frames=26)


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[key].cpu().float() - other[key].cpu().float()).abs().max()) for key in other)


def test_noise_is_that_of_the_cpu():
    assert torch.equal(Noise(5, device="cuda").normal((3, 2)).cpu(), Noise(5).normal((3, 2)))


@pytest.mark.parametrize("name", list(STAGES))
def test_stages_learn_what_they_learn_on_the_cpu(name, prepared, tmp_path):
    expected = STAGES[name](prepared, tmp_path / "cpu", Runtime())
    with started("cuda", "float32") as runtime:
        actual = STAGES[name](prepared, tmp_path / "cuda", runtime)
    assert all(value.is_cuda for value in actual.values())
    # Adam turns gradients that are nothing but rounding errors into whole steps, of up to 1e-3 here.
    assert furthest(actual, expected) < 3e-3


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
@pytest.mark.parametrize("name", ["autoencoder", "adversarial", "student"])
def test_stages_in_faster_arithmetic_learn_nearly_the_same(dtype, name, prepared, tmp_path):
    expected = STAGES[name](prepared, tmp_path / "cpu", Runtime())
    with started("cuda", dtype) as runtime:
        actual = STAGES[name](prepared, tmp_path / "cuda", runtime)
    assert all(value.dtype != torch.bfloat16 for value in actual.values())
    assert furthest(actual, expected) < 0.02


def test_stage_begun_on_the_cpu_is_finished_on_the_gpu(prepared, tmp_path):
    whole = STAGES["adversarial"](prepared, tmp_path / "whole", Runtime())
    stopped_at_first_save(STAGES["adversarial"], prepared, tmp_path / "parts", Runtime())
    with started("cuda", "float32") as runtime:
        assert furthest(STAGES["adversarial"](prepared, tmp_path / "parts", runtime), whole) < 3e-3


def test_train_expert_runs_on_the_gpu(prepared, tmp_path):
    with started("cuda") as runtime:
        weights = small_sync(prepared, tmp_path, runtime)
    assert all(value.is_cuda and torch.isfinite(value.float()).all() for value in weights.values())
