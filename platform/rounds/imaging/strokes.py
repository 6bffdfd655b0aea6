"""Where a slice has something drawn that could be a line of text: thin sharp strokes, side by side, of one height."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rounds.imaging.tilt import AIR_HU

Plane = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int32]

WIDEST_STROKE = 9
"""Pixels; what a square of this size fits into is no stroke but a shape."""

_MIN_PIXELS = 15
_HEIGHTS = (4, 44)
_MAX_GLYPHS = 500
_MARGIN = 4 * WIDEST_STROKE
_KERNEL = np.ones((WIDEST_STROKE, WIDEST_STROKE), np.uint8)


@dataclass(frozen=True)
class Line:
    """What could be a line of text: its box in pixels, whether it runs along the rows, how many glyphs it has.

    `picture` (y, x) is the strokes alone, in HU above (or below) what surrounds them, with a margin.
    """

    top: int
    left: int
    height: int
    width: int
    upright: bool
    glyphs: int
    picture: Plane


def strokes_of(plane: Plane) -> tuple[Plane, Plane]:
    """Return by how many HU bright strokes (y, x) rise above their surroundings, and dark ones sink below."""
    bright = cv2.morphologyEx(plane, cv2.MORPH_TOPHAT, _KERNEL)
    dark = cv2.morphologyEx(plane, cv2.MORPH_BLACKHAT, _KERNEL)
    return np.asarray(bright, np.int16), np.asarray(dark, np.int16)


def strong_strokes_of(plane: Plane, contrast: int) -> tuple[tuple[Plane, Plane], tuple[int, int]]:
    """Return strokes as `strokes_of` does, of the part of a plane where they can reach `contrast` HU, and its corner.

    No voxel is darker than air, so strokes of such a contrast lie on bright voxels, or, dark ones, beside them.
    """
    left, top, width, height = cv2.boundingRect((plane >= AIR_HU + contrast).view(np.uint8))
    above, before = max(0, top - _MARGIN), max(0, left - _MARGIN)
    if not width:
        return (plane[:0, :0], plane[:0, :0]), (0, 0)
    part = plane[above : top + height + _MARGIN, before : left + width + _MARGIN]
    return strokes_of(part), (above, before)


def lines_in(strokes: Plane, contrast: int, glyphs: int = 3) -> Iterator[Line]:
    """Yield what could be lines of `glyphs` or more among strokes of `contrast` HU, upright or turned by 90 degrees."""
    if not strokes.size:
        return
    mask = np.asarray(cv2.inRange(strokes, contrast, 32767), np.uint8)
    if cv2.countNonZero(mask) < _MIN_PIXELS:
        return
    number, _, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    if number < 2:
        return
    boxes = np.asarray(found[1:, :4], dtype=np.int32)[found[1:, cv2.CC_STAT_AREA] >= 5]
    for upright in (True, False):
        across = boxes if upright else boxes[:, [1, 0, 3, 2]]
        turned = mask if upright else mask.T
        for box, count in _rows_of(across, turned, glyphs):
            left, top, width, height = box if upright else (box[1], box[0], box[3], box[2])
            picture = _cut(strokes, top, left, height, width)
            yield Line(top, left, height, width, upright, count, picture)


def _rows_of(
    boxes: Ints, mask: npt.NDArray[np.uint8], least: int
) -> Iterator[tuple[tuple[int, int, int, int], int]]:
    """Yield boxes (x, y, width, height) of glyphs in a row of one height, and how many glyphs they have."""
    heights = boxes[:, 3]
    good = (heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1])
    boxes = boxes[good]
    if not 1 <= len(boxes) <= _MAX_GLYPHS:
        return
    glyphs = np.array([_glyphs(box, mask) for box in boxes], dtype=np.int32)
    boxes, glyphs = boxes[glyphs > 0], glyphs[glyphs > 0]
    if not len(boxes):
        return
    for row in _groups(boxes, glyphs >= least):
        left, top = boxes[row, 0].min(), boxes[row, 1].min()
        right = (boxes[row, 0] + boxes[row, 2]).max()
        bottom = (boxes[row, 1] + boxes[row, 3]).max()
        width, height, count = int(right - left), int(bottom - top), int(glyphs[row].sum())
        if count >= least and width >= 1.3 * height and height <= 1.5 * _HEIGHTS[1]:
            yield (int(left), int(top), width, height), count


def _glyphs(box: Ints, mask: npt.NDArray[np.uint8]) -> int:
    """Return how many glyphs a connected piece may be: 1, more if glyphs touch, 0 if it is a long line or an arc."""
    x, y, width, height = (int(value) for value in box)
    if width <= 2 * height:
        return 1
    part = mask[y : y + height, x : x + width] > 0
    crossings = np.count_nonzero(part[:, 1:] != part[:, :-1]) / (2 * height)
    return int(crossings / 2) if crossings >= 0.5 * width / height else 0


def _groups(boxes: Ints, alone: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield which boxes stand side by side: at one height, alike in size, no more than a space apart.

    Boxes beside no other are left out unless they may stand `alone`.
    """
    left, top, height = boxes[:, 0], boxes[:, 1], boxes[:, 3]
    right, middle = left + boxes[:, 2], top + height / 2
    taller = np.maximum(height[:, None], height[None, :])
    near = (np.maximum(left[:, None], left[None, :]) - np.minimum(right[:, None], right[None, :])) <= taller
    level = np.abs(middle[:, None] - middle[None, :]) <= 0.35 * taller
    alike = np.minimum(height[:, None], height[None, :]) >= 0.45 * taller
    beside = near & level & alike
    left_over = alone | (beside.sum(axis=1) > 1)
    while left_over.any():
        group = beside[np.argmax(left_over)]
        while (grown := beside[group].any(axis=0)).sum() > group.sum():
            group = grown
        left_over &= ~group
        yield np.flatnonzero(group)


def _cut(strokes: Plane, top: int, left: int, height: int, width: int) -> Plane:
    margin = max(2, min(height, width) // 4)
    return strokes[
        max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin
    ]
