"""The contact sheet shows the mouth that was dubbed, whatever becomes of the slot before its frame leaves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.dubbing.contact_sheet import BeforeAfterSheet
from lipsync_cli.dubbing.segments import Slot
from tests.helpers.composite_scenes import alignment, crop_of, frame_of, unchanged, video


def test_sheet_shows_the_mouth_though_its_patches_are_gone_when_it_is_drawn(tmp_path: Path) -> None:
    """A face far from the middle, with a red mouth that fills a seventh of its crop and a thousandth of the frame."""
    info = video(width=640, height=480)
    rgb = np.full((480, 640, 3), (0.1, 0.2, 0.6), np.float32)
    rgb[380:400, 495:525] = (0.9, 0.1, 0.1)
    patch = unchanged(crop_of(rgb, alignment(info, face=100.0, angle=0.0, at=(510.0, 375.0))))
    slot = Slot(frame_of(info, rgb), 0, (), [patch])
    sheet = BeforeAfterSheet(info)
    sheet.add(slot, slot.frame)
    slot.patches.clear()
    sheet.save(tmp_path / "sheet.png")
    blue, _, red = np.moveaxis(cv2.imread(str(tmp_path / "sheet.png")).astype(int), -1, 0)
    zoomed = (red - blue)[-len(red) // 2 :] > 100
    assert zoomed.mean() > 0.05
