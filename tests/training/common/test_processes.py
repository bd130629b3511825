"""Two processes with half of each batch learn what one process with the whole batch learns."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from lipsync_cli.training.common.runtime import Runtime
from tests.helpers.paths import ROOT
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.small_stages import STAGES, Weights

pytest.importorskip("accelerate", reason="needs accelerate, of the train extra")


# A normalisation or softmax takes away what these add: their gradient is rounding errors, of which Adam makes steps.
WITHOUT_GRADIENT = ("head.bias", "head_out.bias")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, port: int) -> dict[str, str]:
    """What torchrun and accelerate launch tell a process."""
    return os.environ | {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def run_together(command: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run a command in two processes that know of each other."""
    port = free_port()
    started = [
        subprocess.Popen(
            command, env=environment(rank, port), cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=600) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers with a clip each; masks and so the weights of every sample differ."""
    clips = [("train", "a"), ("train", "b"), ("train", "c"), ("train", "d"), ("val", "e")]
    return write_prepared(tmp_path_factory.mktemp("two") / "prepared", clips, frames=26)


@pytest.fixture(scope="module")
def together(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Weights]]]:
    """Results of all small stages, as each of two processes has them."""
    out = tmp_path_factory.mktemp("together")
    done = run_together([sys.executable, "-m", "tests.helpers.small_stages", str(out), str(prepared)])
    assert [process.returncode for process in done] == [0, 0], "\n".join(process.stderr for process in done)
    return out, [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", list(STAGES))
def test_processes_with_two_halves_equal_one_with_the_whole(name, prepared, together, tmp_path):
    both = together[1][0][name]
    alone = STAGES[name](prepared, tmp_path / "alone", Runtime(parts=2))
    other = STAGES[name](prepared, tmp_path / "other", Runtime())
    furthest, apart = distance(both, alone), distance(other, alone)
    assert furthest < 1e-3 * apart


def distance(one: Weights, other: Weights) -> float:
    gaps = [(one[key] - other[key]).float().norm() for key in other if not key.endswith(WITHOUT_GRADIENT)]
    return float(torch.stack(gaps).norm())


def test_processes_end_with_the_same_weights(together):
    first, second = together[1]
    assert first.keys() == second.keys()
    for name, weights in first.items():
        assert all(torch.equal(value, second[name][key]) for key, value in weights.items()), name


@pytest.mark.parametrize("name", ["adversarial", "student"])
def test_processes_stopped_and_resumed_equal_unbroken_ones(name, together):
    whole, parts = together[1][0][name], together[1][0][f"{name}-parts"]
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_processes_write_one_log(together):
    rows = [json.loads(line) for line in (together[0] / "adversarial" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]


def test_processes_stop_when_the_main_one_is_out_of_time(together):
    assert [int(results["late"]["step"]) for results in together[1]] == [0, 0]


def test_processes_log_the_figures_of_the_whole_batch(prepared, together, tmp_path):
    STAGES["adversarial"](prepared, tmp_path / "adversarial", Runtime(parts=2))
    one, two = (json.loads((at / "adversarial" / "metrics.jsonl").read_text()) for at in (tmp_path, together[0]))
    for row in (one, two):
        row.pop("s")
    assert one.keys() == two.keys()
    assert two == pytest.approx(one, abs=5e-5)


RECIPE = """
[[autoencoder]]
crop_size = 32
steps = 1
sequences = 2
targets = 1
references = 2
[points]
steps = 1
clips = 2
frames = 2
[adversarial]
crop_size = 64
network_size = 32
steps = 1
sequences = 2
targets = 1
references = 2
[sync]
steps = 1
batch = 2
frames = [16]
[teacher]
steps = 1
batch = 2
frames = [16]
width = 16
layers = 1
heads = 2
[causal]
steps = 1
batch = 2
frames = [16, 16]
"""


@pytest.fixture
def command(prepared, tmp_path) -> list[str]:
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    places = {"--prepared": prepared, "--recipe": recipe, "--runs": tmp_path / "runs", "--model": tmp_path / "model"}
    options = [str(word) for pair in places.items() for word in pair]
    return ["lipsync_cli", "train", "mini", *options, "--device", "cpu"]


@pytest.mark.slow
def test_processes_of_the_command_report_and_write_once(command, tmp_path):
    first, second = run_together([sys.executable, "-m", *command])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "wrote" in first.stderr and "wrote" not in second.stderr
    assert (tmp_path / "model" / "weights.safetensors").is_file()


LAUNCHERS = {
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1",
                   "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port"],
    "torchrun": ["torch.distributed.run", "--nproc-per-node=2", "--master-port"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_start_the_command(launcher, command):
    line = [sys.executable, "-m", *LAUNCHERS[launcher], str(free_port()), "-m", *command]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wrote") == 1
