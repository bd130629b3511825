"""A detector for one person in front of a plain wall: the face is the largest skin-coloured area."""

import cv2
import numpy as np

from lipsync_cli.faces.detectors import Detection, DetectorSpec, DlibLandmarks

MIN_FACE_PX = 40


class SkinDetector:
    """Finds at most one face; its score is how much of its bounding box the area fills, 0 … 1."""

    def detect(self, picture: np.ndarray, *, thorough: bool = True) -> list[Detection]:
        ycrcb = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
        skin = cv2.inRange(ycrcb, (40, 137, 80), (255, 175, 127))
        _, _, areas, _ = cv2.connectedComponentsWithStats(skin)
        x, y, width, height, filled = max(areas[1:].tolist(), key=lambda area: area[-1], default=(0, 0, 0, 0, 0))
        if width < MIN_FACE_PX:
            return []
        # A face is wanted from mid-forehead to chin: as high as it is wide, and a quarter of that below the hairline.
        top = y + width / 4
        return [Detection((x, top, x + width, top + width), score=filled / (width * height))]


DETECTOR = DetectorSpec("skin", create_detector=lambda device: SkinDetector(), create_predictor=DlibLandmarks)
