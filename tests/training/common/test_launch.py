"""From --device and --dtype to a runtime: what is refused, and with which words."""

from __future__ import annotations

import sys

import pytest
import torch

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.training.common.launch import started, training_device


@pytest.mark.parametrize("device", ["gpu", "mps", "cpu:1", "cuda:x", "cuda:-1", ""])
def test_training_device_that_is_no_device_is_a_usage_error(device):
    with pytest.raises(UsageError, match=r"auto, cpu, cuda or cuda:N"):
        training_device(device)


def test_training_device_that_is_not_there_is_an_environment_problem(monkeypatch):
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


def test_started_with_a_type_that_is_no_type_is_a_usage_error():
    with pytest.raises(UsageError, match="auto, float32, bfloat16"), started("cpu", "float16"):
        pass


@pytest.mark.parametrize(
    ("variables", "device", "error", "words"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "cpu", UsageError, "FSDP shards weights"),
        ({}, "cuda:0", UsageError, "cannot all compute on cuda:0"),
        ({}, "cuda", EnvironmentProblem, "2 processes need as many GPUs, and there are 1"),
    ],
)
def test_started_refuses_processes_that_cannot_work_together(variables, device, error, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error, match=words), started(device):
        pass


def test_started_in_several_processes_names_accelerate_if_it_is_missing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(EnvironmentProblem, match="needs the package accelerate"), started("cpu"):
        pass
