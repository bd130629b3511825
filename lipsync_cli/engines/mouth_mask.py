"""The fixed mask of LatentSync and Lip Forcing: which part of an aligned crop is made anew.

It covers cheeks to chin beside and below the nose, so that nothing around the mouth tells what it does. The runs
below are that mask, row by row, on its own 256 × 256 grid; the sizes networks need are derived as they were in
training: bilinear and cut at one half for pixels and for latents.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lipsync_cli.core.types import Float32, UInt8

SIZE = 256
TOP, NOSE_END = 95, 128
BESIDE_NOSE = ((9, 77), (178, 246))
# First and last column of each row from NOSE_END on.
RUNS = (
    *[(9, 247)] * 7, (9, 246), *[(10, 246)] * 13, (10, 245), *[(11, 245)] * 13, (11, 244), *[(12, 244)] * 6,
    (12, 243), (13, 243), (13, 242), (14, 242), (14, 241), (15, 241), (15, 240), (16, 240), (16, 239), (17, 238),
    (18, 238), (18, 237), (19, 236), (19, 236), (20, 235), (21, 234), (21, 234), (22, 233), (22, 232), (23, 232),
    (24, 231), (25, 230), (26, 230), (26, 229), (27, 228), (28, 228), (29, 227), (30, 226), (31, 225), (32, 224),
    (33, 223), (34, 223), (34, 222), (35, 221), (36, 220), (37, 219), (38, 218), (39, 217), (40, 216), (42, 215),
    (43, 214), (44, 213), (45, 212), (47, 211), (48, 210), (49, 208), (51, 207), (52, 206), (54, 204), (56, 203),
    (57, 202), (59, 200), (60, 199), (62, 197), (64, 196), (66, 194), (68, 192), (70, 191), (72, 189), (74, 187),
    (76, 185), (78, 183), (80, 180), (82, 178), (85, 175), (87, 173), (90, 171), (93, 168), (95, 166), (99, 164),
    (104, 160), (108, 156), (131, 152),
)  # fmt: skip


@lru_cache(maxsize=1)
def kept() -> Float32:
    """The mask itself, ``[256 256]``: 1 where the picture is kept, 0 where it is made anew."""
    mask = np.ones((SIZE, SIZE), np.float32)
    for first, last in BESIDE_NOSE:
        mask[TOP:NOSE_END, first : last + 1] = 0
    for row, (first, last) in enumerate(RUNS, NOSE_END):
        mask[row, first : last + 1] = 0
    return mask


def kept_pixels(size: int) -> Float32:
    """Binary ``[size size]`` for pixels, 1 = kept."""
    return np.asarray(cv2.resize(kept(), (size, size), interpolation=cv2.INTER_LINEAR) > 0.5, np.float32)


def generated_latents(size: int) -> Float32:
    """Binary ``[size size]`` for latents, 1 = made anew: the mask channel of the network's input."""
    return np.asarray(cv2.resize(kept(), (size, size), interpolation=cv2.INTER_LINEAR) <= 0.5, np.float32)


def release_blend(size: int) -> Float32:
    """The unfeathered weight ``[size size]`` by which the releases keep pixels; it rings slightly beyond 0 and 1."""
    grey = (255 * kept()).astype(np.uint8)
    resized = np.asarray(cv2.resize(grey, (size, size), interpolation=cv2.INTER_LANCZOS4), np.float32)
    return np.asarray(resized / 255, np.float32)


def mouth_only(picture: Float32, source: UInt8) -> Float32:
    """``picture`` ``[s s 3]`` inside the mask, ``source`` outside, along the releases' edge."""
    keep = release_blend(len(picture))[..., None]
    return np.asarray(picture * (1 - keep) + source * keep * np.float32(1 / 255), np.float32)
