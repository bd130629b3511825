"""A frame edited: what does not speak stays as it is, lips of both mouths are covered, chins move as they should."""

from __future__ import annotations

import math

import torch

from lipsync_cli.engines.mini.nn.frame_edit import edit_frames, predict_edit
from lipsync_cli.engines.mini.nn.landmark_flow import INNER_LIPS, JAW_LINE, LIPS
from lipsync_cli.engines.mini.nn.warping import RegionWindow

SIZE = 128
WINDOW = RegionWindow.of(SIZE)


def mouth(aperture: float = 0.0, *, drop: float = 0.0) -> torch.Tensor:
    """29 points ``[1 29 2]`` of a mouth that is open by ``aperture`` and a jaw that hangs by ``drop``."""
    points = torch.zeros(1, 29, 2)
    for start, count, width, height in ((0, 12, 0.13, 0.03), (12, 8, 0.10, 0.005)):
        for i in range(count):
            angle = math.pi + 2 * math.pi * i / count
            points[0, start + i, 0] = 0.5 + width * math.cos(angle)
            points[0, start + i, 1] = 0.62 + (height + aperture / 2) * math.sin(angle)
    for i in range(9):
        x = (i - 4) / 4
        points[0, 20 + i] = torch.tensor([0.5 + 0.28 * x, 0.85 - 0.12 * x * x + drop])
    return points


def frame(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, SIZE // 8, SIZE // 8, generator=generator)
    return torch.nn.functional.interpolate(noise, (SIZE, SIZE), mode="bicubic").clamp(0, 1)


def at(points: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Values of ``maps`` ``[c h w]`` of the window at crop fractions ``[n 2]``."""
    index = (points * SIZE).long() - torch.tensor([WINDOW.columns.start, WINDOW.rows.start])
    return maps[:, index[:, 1], index[:, 0]]


def test_the_same_mouth_leaves_all_but_the_lips_to_the_bit() -> None:
    edit = predict_edit(mouth(), mouth(), SIZE)
    assert not edit.shift.any()
    drawn = torch.zeros(1, 3, *WINDOW.shape)
    edited = edit_frames(edit, frame(), drawn, WINDOW)
    untouched = (edit.lips < 1e-4).expand_as(edited)
    assert untouched.float().mean() > 0.5
    torch.testing.assert_close(edited[untouched], WINDOW.fine(frame())[untouched], atol=2e-4, rtol=0)


def test_lips_of_both_mouths_are_covered_and_nothing_far_from_them() -> None:
    for own, wanted in ((mouth(), mouth(0.12)), (mouth(0.12), mouth())):
        lips = predict_edit(own, wanted, SIZE).lips[0]
        inside = torch.cat([own[0, INNER_LIPS], wanted[0, INNER_LIPS], torch.tensor([[0.5, 0.62]])])
        assert at(inside, lips).min() > 0.9
        assert at(torch.tensor([[0.5, 0.85], [0.25, 0.62], [0.75, 0.62]]), lips).max() < 0.02


def test_a_jaw_that_drops_takes_the_chin_with_it_and_leaves_the_border_where_it_was() -> None:
    edit = predict_edit(mouth(), mouth(0.1, drop=0.05), SIZE)
    rows = torch.arange(SIZE, dtype=torch.float32) / SIZE
    ramp = rows[None, None, :, None].expand(1, 3, SIZE, SIZE).contiguous()
    edited = edit_frames(edit, ramp, WINDOW.fine(ramp), WINDOW)[0]
    chin = mouth(0.1, drop=0.05)[0, JAW_LINE][4:5]
    shown = at(chin, edited)[0, 0]
    assert chin[0, 1] - 0.05 - 0.015 < shown < chin[0, 1] - 0.025  # what was drawn there lay higher in the frame
    above = torch.tensor([[0.5, 0.40], [0.2, 0.45]])
    torch.testing.assert_close(at(above, edited)[0], above[:, 1], atol=0.012, rtol=0)


def test_the_drawing_takes_the_frames_colour_along_its_border() -> None:
    edit = predict_edit(mouth(), mouth(), SIZE)
    picture = frame()
    drawn = WINDOW.fine(picture) + torch.tensor([0.2, -0.1, 0.05])[None, :, None, None]
    edited = edit_frames(edit, picture, drawn, WINDOW)
    torch.testing.assert_close(edited, WINDOW.fine(picture), atol=2e-3, rtol=0)


def test_frames_of_a_batch_do_not_know_of_each_other() -> None:
    own, wanted = torch.cat([mouth(), mouth(0.08)]), torch.cat([mouth(0.1), mouth()])
    both = predict_edit(own, wanted, SIZE)
    pictures, drawn = torch.cat([frame(1), frame(2)]), torch.rand(2, 3, *WINDOW.shape)
    together = edit_frames(both, pictures, drawn, WINDOW)
    for i in range(2):
        one = edit_frames(both.frame(i), pictures[i : i + 1], drawn[i : i + 1], WINDOW)
        torch.testing.assert_close(together[i : i + 1], one)
    assert len(LIPS) == 20
