"""Random numbers of steps: the same in one process and in several."""

from __future__ import annotations

import torch

from lipsync_cli.training.common.noise import Noise, part_seed, step_seed


def test_noise_of_all_parts_is_the_noise_of_each():
    together, parts = Noise(7, (0, 1, 2)), [Noise(7, (part,)) for part in range(3)]
    assert {together.common_integer(1000)} == {part.common_integer(1000) for part in parts}
    for draw, shape in (("normal", (6, 5)), ("uniform", (3,)), ("normal", (9, 2, 4))):
        own = (shape[0] // 3, *shape[1:])
        expected = torch.cat([getattr(part, draw)(own) for part in parts])
        assert torch.equal(getattr(together, draw)(shape), expected)
        assert len({float(value) for value in expected.flatten()}) == expected.numel()


def test_noise_of_part_0_is_that_of_a_single_process():
    generator, noise = torch.Generator().manual_seed(3), Noise(3)
    assert noise.common_integer(5) == int(torch.randint(5, (1,), generator=generator))
    assert torch.equal(noise.normal((4, 2)), torch.randn(4, 2, generator=generator))
    assert torch.equal(noise.uniform((3,)), torch.rand(3, generator=generator))
    assert torch.equal(noise.integers(9, (2, 2)), torch.randint(9, (2, 2), generator=generator))


def test_step_seed_mixes_its_numbers_and_is_what_it_always_was():
    assert step_seed(3, 7) == 3 * 1_000_003 + 7
    assert step_seed(1, 96, 5) == (1 * 1_000_003 + 96) * 1_000_003 + 5
    seeds = {step_seed(seed, stream, step) for seed in range(4) for stream in (7, 96, 128) for step in range(50)}
    assert len(seeds) == 4 * 3 * 50
    assert step_seed(9) == 9


def test_part_seed_of_part_0_is_the_steps_own():
    assert part_seed(5, 0) == 5
    assert len({part_seed(seed, part) for seed in range(20) for part in range(8)}) == 160
