"""On a GPU: the same pictures within half precision, the hardware's eight-bit product, the compiler, the clock."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.engines.lip_forcing.generator import LipForcing, LipForcingNetworks
from lipsync_cli.engines.lip_forcing.load import Speed, accelerate
from lipsync_cli.engines.lip_forcing.nn.float8 import Float8Linear
from lipsync_cli.nn.wan.attention import attention, kernels
from tests.engines.lip_forcing.test_generator import at_rate, make_crops, run
from tests.helpers.narrow_lip_forcing import CONFIG, make_networks

pytestmark = pytest.mark.gpu


def on_gpu(dtype: torch.dtype, **options: bool | int) -> LipForcing:
    n, half = make_networks(), torch.float16 if dtype != torch.float32 else dtype
    networks = LipForcingNetworks(
        n.transformer.to("cuda", dtype), n.encoder.to("cuda", dtype), n.decoder.to("cuda", half),
        n.speech.to("cuda"), n.text.cuda(),
    )  # fmt: skip
    return LipForcing(accelerate(networks, Speed(**options)), CONFIG)


@pytest.mark.parametrize(
    ("dtype", "options", "bound"),
    [
        (torch.float32, {}, 2e-3),
        (torch.float32, {"compile": True}, 2e-3),
        (torch.bfloat16, {}, 0.05),
        (torch.bfloat16, {"compile": True}, 0.05),
        (torch.float32, {"graphs": True}, 2e-3),
        (torch.bfloat16, {"compile": True, "graphs": True}, 0.05),
    ],
)
def test_pictures_are_those_of_the_cpu(dtype, options, bound):
    crops, times = make_crops(33), at_rate(33)
    expected = np.stack(run(LipForcing(make_networks(), CONFIG), crops, times))
    pictures = np.stack(run(on_gpu(dtype, **options), crops, times))
    assert np.abs(pictures - expected).mean() < bound


def test_drawings_left_there_are_final_when_they_are_handed_out():
    """Read from another stream at once, they are what would have come to the CPU."""
    crops, times = make_crops(33), at_rate(33)
    generator = on_gpu(torch.float32)
    expected = np.stack(run(generator, crops, times))
    generator.leave_on_device = True
    left = run(generator, crops, times)
    with torch.cuda.stream(torch.cuda.Stream()):
        pictures = np.stack([picture.cpu().numpy() for picture in left])
    np.testing.assert_allclose(pictures, expected, atol=1e-5)


def test_the_hardwares_eight_bit_product_is_the_emulated_one():
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(256, 128), torch.randn(64, 256)
    emulated = Float8Linear(linear)(x)
    product = Float8Linear(linear.cuda().bfloat16())(x.cuda().bfloat16())
    assert float((product.cpu().float() - emulated).norm() / emulated.norm()) < 0.02


def test_a_recorded_pass_serves_one_segment_after_another():
    """The second segment runs in the first one's memory, with the graph recorded there."""
    crops, times = make_crops(33), at_rate(33)
    generator = on_gpu(torch.float32, graphs=True)
    first = np.stack(run(generator, crops, times))
    np.testing.assert_array_equal(np.stack(run(generator, crops, times)), first)


@pytest.mark.parametrize("kernel", range(4))
def test_every_kernel_gives_the_same_attention(kernel, monkeypatch):
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, length, 2, 128, device="cuda", dtype=torch.bfloat16) for length in (96, 224, 224))
    expected = attention(q.cpu().float(), k.cpu().float(), v.cpu().float())
    chosen = kernels(0)[kernel]
    monkeypatch.setattr("lipsync_cli.nn.wan.attention.kernels", lambda device: [chosen])
    assert float((attention(q, k, v).cpu().float() - expected).norm() / expected.norm()) < 0.02


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_make_the_pictures_of_one():
    crops, times = make_crops(45), at_rate(45)
    expected = np.stack(run(on_gpu(torch.float32), crops, times))
    shared = on_gpu(torch.float32, devices=2)
    try:
        np.testing.assert_allclose(np.stack(run(shared, crops, times)), expected, atol=2e-3)
    finally:
        shared.networks.transformer.close()


def test_the_whole_way_is_measured(tmp_path):
    """Frames per second, memory of the device and the share of its peak, from the command itself."""
    import json

    from typer.testing import CliRunner

    from lipsync_cli.cli.app import app
    from tests.helpers.narrow_lip_forcing import make_folder

    args = ["--lengths", "1", "--heights", "240", "--rounds", "1", "--tflops", "100", "--device", "cuda", "--json"]
    model = ["--model", str(make_folder(tmp_path / "m")), "--random-weights", "--out", str(tmp_path / "b.json")]
    done = CliRunner().invoke(app, ["bench", *model, *args])
    assert done.exit_code == 0, done.output
    (case,) = json.loads(done.stdout)["cases"]
    assert case["peak_vram_mb"] > 0 and case["mfu"] > 0 and case["dubbed"] == 25
