"""A transformer shared by two processes, over sockets: the pictures of one, and an end in every way."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines.lip_forcing.generator import LipForcing
from lipsync_cli.engines.lip_forcing.load import Speed, accelerate
from lipsync_cli.engines.lip_forcing.parallel.ranks import Helpers, SharedTransformer
from tests.engines.lip_forcing.test_generator import at_rate, make_crops, run
from tests.helpers.narrow_lip_forcing import CONFIG, make_folder, make_networks


def ended(pid: int) -> bool:
    """Whether the process is gone; a reaped child has no entry any more."""
    return not Path(f"/proc/{pid}").exists()


def test_two_processes_make_the_pictures_of_one_and_fail_as_one():
    """45 frames are four chunks, so that the window rolls over; two segments, the second beginning under way."""
    crops, times = make_crops(45), at_rate(45)
    alone = LipForcing(make_networks(), CONFIG)
    shared = LipForcing(accelerate(make_networks(), Speed(devices=2)), CONFIG)
    helpers = shared.networks.transformer._helpers
    (pid,) = helpers.pids
    try:
        for seed in (0, 1):
            # Float32 sums over half as many rows come out in another order.
            expected = np.stack(run(alone, crops, times, seed=seed))
            np.testing.assert_allclose(np.stack(run(shared, crops, times, seed=seed)), expected, atol=2e-5)
        helpers._processes[0].send_signal(signal.SIGKILL)
        with pytest.raises(EnvironmentProblem, match="Device 1 of 2 ended with -9"):
            run(shared, crops, times)
        with pytest.raises(EnvironmentProblem, match="ended with -9"):  # and says so again rather than wait
            run(shared, crops, times)
    finally:
        shared.networks.transformer.close()
    assert ended(pid)


@pytest.mark.slow
def test_helpers_end_with_the_generator():
    generator = LipForcing(accelerate(make_networks(), Speed(devices=2)), CONFIG)
    (pid,) = generator.networks.transformer._helpers.pids
    assert len(run(generator, make_crops(9), at_rate(9))) == 9
    del generator
    assert ended(pid)


def test_a_helper_that_cannot_begin_is_a_sentence_and_not_a_wait(monkeypatch):
    begin = Helpers._start
    monkeypatch.setattr(Helpers, "_start", lambda self, job: begin(self, {**job, "dtype": "float7"}))
    with pytest.raises(EnvironmentProblem, match=r"Device 1 of 2 ended with 1: .*float7"):
        accelerate(make_networks(), Speed(devices=2))


@pytest.mark.slow
def test_a_pass_that_fails_here_does_not_leave_helpers_waiting(monkeypatch):
    generator = LipForcing(accelerate(make_networks(), Speed(devices=2)), CONFIG)
    shared = generator.networks.transformer

    def fail(*args):
        raise ValueError("here")

    monkeypatch.setattr(shared._network, "predict", fail)
    with pytest.raises(ValueError, match="here"):
        run(generator, make_crops(9), at_rate(9))
    shared.close()
    assert ended(shared._helpers.pids[0])


@pytest.mark.slow
def test_a_helper_leaves_when_rank_0_is_gone():
    generator = LipForcing(accelerate(make_networks(), Speed(devices=2)), CONFIG)
    process = generator.networks.transformer._helpers._processes[0]
    process.stdin.close()
    assert process.wait(timeout=300) == 1
    generator.networks.transformer.close()


def dub(head_mp4, voice_wav, out: Path, devices: int):
    from typer.testing import CliRunner

    from lipsync_cli.cli.app import app

    args = ["dub", head_mp4, voice_wav, "-o", out, "--model", out.parent / "m", "--preset", "realtime", "--end", "1"]
    sets = ["--set", f"devices={devices}", "--set", "crf=0", "--device", "cpu", "-q"]
    return CliRunner().invoke(app, [*map(str, args), *sets])


@pytest.mark.slow
def test_the_command_dubs_on_two_as_on_one(head_mp4, voice_wav, no_part_files):
    make_folder(no_part_files / "m")
    outs = [no_part_files / f"{devices}.mp4" for devices in (1, 2)]
    for devices, out in zip((1, 2), outs, strict=True):
        done = dub(head_mp4, voice_wav, out, devices)
        assert done.exit_code == 0, done.output
    one, two = (decoded(out) for out in outs)
    assert one.shape == two.shape and np.abs(one.astype(int) - two).max() <= 2


@pytest.mark.slow
def test_a_device_lost_under_way_ends_the_command_with_a_sentence(head_mp4, voice_wav, no_part_files, monkeypatch):
    make_folder(no_part_files / "m")
    commit, commits = SharedTransformer.commit, []

    def kill_after_the_first(self, *args):
        commit(self, *args)
        commits.append(1)
        self._helpers._processes[0].kill()

    monkeypatch.setattr(SharedTransformer, "commit", kill_after_the_first)
    done = dub(head_mp4, voice_wav, no_part_files / "out.mp4", 2)
    assert (done.exit_code, len(commits)) == (6, 1), done.output
    assert "Device 1 of 2 ended with -9" in " ".join(done.output.split())
    assert not (no_part_files / "out.mp4").exists()


def decoded(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
