"""The aligned crop of a tracked face, cut from the stored picture in one sampling step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.crop_templates import CropTemplate
from lipsync_cli.core.geometry import compose_affine, cut_from, transform_points
from lipsync_cli.core.types import Alignment, Crop, Face, Float64, Frame, RgbView, UInt8, VideoInfo
from lipsync_cli.faces.detection import view_of


def cut_crop(frame: Frame, face: Face, info: VideoInfo, template: CropTemplate, size: int) -> Crop:
    """The ``size`` × ``size`` crop of ``face`` as ``template`` lays it, upright and with square pixels.

    Its matrix goes from storage pixels straight to the crop, whatever the file's rotation and sample aspect
    ratio; its landmarks are the face's smoothed ones in crop pixels. Raises ValueError when the frame's RGB view has
    been let go.
    """
    return cut_picture(view_of(frame), face.landmarks, info.to_display, template, size)


def cut_picture(
    picture: UInt8 | RgbView,
    landmarks: npt.ArrayLike,
    to_display: npt.ArrayLike,
    template: CropTemplate,
    size: int,
) -> Crop:
    """The same from a stored picture RGB ``[h w 3]`` and landmarks ``[68 2]`` in display pixels."""
    from_display = stretched_matrix(landmarks, template, size)
    matrix = compose_affine(from_display, to_display)
    return Crop(cut_from(picture, matrix, size), Alignment(matrix, size), transform_points(from_display, landmarks))


def stretched_matrix(landmarks: npt.ArrayLike, template: CropTemplate, size: int) -> Float64:
    """Affine ``[2 3]`` map from the landmarks' pixels to the crop's; a narrow template is stretched to the square."""
    matrix = template.matrix(template.anchors(landmarks), size)
    if template.aspect == 1:
        return matrix
    stretch = 1 / template.aspect
    return compose_affine(np.array([[stretch, 0, 0.5 * stretch - 0.5], [0, 1, 0]]), matrix)
