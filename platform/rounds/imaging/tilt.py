"""A tilted gantry: slices that slide across their own normal as the table moves, and how they are set upright."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from rounds.imaging.grid import Grid

AIR_HU = -1024


@dataclass(frozen=True)
class Tilt:
    """The tilt of a gantry: its angle, and by how many mm a slice lies further along its rows and columns per mm of
    height along the normal: `along_x` in the direction of rising columns, `along_y` of rising rows."""

    degrees: float
    along_x: float
    along_y: float

    @property
    def told(self) -> str:
        """Say what was corrected."""
        return f"gantry tilt of {self.degrees:.1f} degrees corrected by shifting each slice within its plane"


def upright(grid: Grid, tilt: Tilt) -> Grid:
    """Return the grid that holds every pixel of the tilted slices, with its z axis along their normal.

    `grid` has the first slice's origin and the slices' normal as z axis; rows and columns grow by what the last slice
    has slid, on the side to which it did.
    """
    count, rows, columns = grid.shape
    before, after = zip(*(_margins(grid, tilt, axis) for axis in (0, 1)), strict=True)
    affine = grid.affine.copy()
    for axis in (0, 1):
        affine[:3, 3] -= affine[:3, axis] * before[axis]
    shape = (count, rows + before[1] + after[1], columns + before[0] + after[0])
    return replace(grid, shape=shape, affine=affine)


def straighten(plane: npt.NDArray[np.int16], index: int, grid: Grid, tilt: Tilt) -> npt.NDArray[np.int16]:
    """Move slice `index`, HU (y, x), to its place in the upright `grid`: cubic interpolation, air around it."""
    moved = [_slide(grid, tilt, axis, index) for axis in (0, 1)]
    full = _slide(grid, tilt, 0, grid.shape[0] - 1), _slide(grid, tilt, 1, grid.shape[0] - 1)
    x, y = (shift + math.ceil(max(0.0, -most)) for shift, most in zip(moved, full, strict=True))
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    placed = cv2.warpAffine(
        plane,
        matrix,
        (grid.shape[2], grid.shape[1]),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(AIR_HU,),
    )
    return np.maximum(placed, AIR_HU, dtype=np.int16)


def _slide(grid: Grid, tilt: Tilt, axis: int, index: int) -> float:
    """Return by how many pixels slice `index` has slid along x (axis 0) or y (axis 1)."""
    step, row_step, column_step = grid.spacing
    return index * step * (tilt.along_x / column_step if axis == 0 else tilt.along_y / row_step)


def _margins(grid: Grid, tilt: Tilt, axis: int) -> tuple[int, int]:
    """Return how many pixels to add before the first and after the last one of an axis."""
    most = _slide(grid, tilt, axis, grid.shape[0] - 1)
    return math.ceil(max(0.0, -most)), math.ceil(max(0.0, most))
