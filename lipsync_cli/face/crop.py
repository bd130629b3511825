"""The aligned crop of a tracked face, cut from the stored picture in one sampling step."""

from __future__ import annotations

from typing import cast

import numpy as np

from lipsync_cli.face.align import AlignmentTemplate
from lipsync_cli.face.detect import pixels
from lipsync_cli.geometry import compose_affine, transform_points, warp_to_crop
from lipsync_cli.types import Alignment, Crop, Face, Frame, UInt8, VideoInfo


def cut_crop(frame: Frame, face: Face, info: VideoInfo, template: AlignmentTemplate, size: int) -> Crop:
    """The ``size`` × ``size`` crop of ``face`` as ``template`` lays it, upright and with square pixels.

    Its matrix goes from storage pixels straight to the crop, whatever the file's rotation and sample aspect
    ratio; its landmarks are the face's smoothed ones in crop pixels. A template that is narrower than high is
    stretched to the square. Raises ValueError when the frame's RGB view has been let go.
    """
    picture = pixels(frame)
    from_display = template.matrix(template.anchors(face.landmarks), size)
    if template.aspect != 1:
        stretch = 1 / template.aspect
        from_display = compose_affine(np.array([[stretch, 0, 0.5 * stretch - 0.5], [0, 1, 0]]), from_display)
    matrix = compose_affine(from_display, info.to_display)
    rgb = cast(UInt8, np.ascontiguousarray(warp_to_crop(picture, matrix, size)))
    return Crop(rgb, Alignment(matrix, size), transform_points(from_display, face.landmarks))
