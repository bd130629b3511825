"""On a GPU: the same pictures within half precision, the hardware's eight-bit product, the compiler, the clock."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from narrow_model import CONFIG, make_networks
from test_generator import at_rate, make_crops, run

from lipsync_cli.generate.lip_forcing.generator import LipForcing, LipForcingNetworks
from lipsync_cli.generate.lip_forcing.load import accelerate
from lipsync_cli.generate.lip_forcing.timing import time_random
from lipsync_cli.nn.lip_forcing.float8 import Float8Linear

pytestmark = pytest.mark.gpu


def on_gpu(dtype: torch.dtype, **options: bool) -> LipForcing:
    n, half = make_networks(), torch.float16 if dtype != torch.float32 else dtype
    networks = LipForcingNetworks(
        n.transformer.to("cuda", dtype), n.encoder.to("cuda", dtype), n.decoder.to("cuda", half),
        n.speech.to("cuda"), n.text.cuda(),
    )  # fmt: skip
    accelerate(networks, **options)
    return LipForcing(networks, CONFIG)


@pytest.mark.parametrize(
    ("dtype", "options", "bound"),
    [
        (torch.float32, {}, 2e-3),
        (torch.float32, {"compile": True}, 2e-3),
        (torch.bfloat16, {}, 0.05),
        (torch.bfloat16, {"compile": True}, 0.05),
    ],
)
def test_pictures_are_those_of_the_cpu(dtype, options, bound):
    crops, times = make_crops(33), at_rate(33)
    expected = np.stack(run(LipForcing(make_networks(), CONFIG), crops, times))
    pictures = np.stack(run(on_gpu(dtype, **options), crops, times))
    assert np.abs(pictures - expected).mean() < bound


def test_the_hardwares_eight_bit_product_is_the_emulated_one():
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(256, 128), torch.randn(64, 256)
    emulated = Float8Linear(linear)(x)
    product = Float8Linear(linear.cuda().bfloat16())(x.cuda().bfloat16())
    assert float((product.cpu().float() - emulated).norm() / emulated.norm()) < 0.02


def test_speed_is_measured():
    timing = time_random(CONFIG, device=torch.device("cuda"), dtype=torch.bfloat16, chunks=2)
    assert timing.fps > 0 and timing.memory_bytes
