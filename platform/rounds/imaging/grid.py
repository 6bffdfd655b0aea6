"""Voxel grids in space: shape, spacing and the affine from voxel (x, y, z) to RAS millimetres."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid: `shape` (z, y, x), `spacing` (z, y, x) in mm, `affine` 4x4 from voxel (x, y, z) to RAS mm."""

    shape: Shape
    spacing: Spacing
    affine: Affine

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: Affine) -> "Grid":
        """Make the grid of an array of `shape` (z, y, x); the spacing is read off the affine, to 1e-6 mm."""
        z, y, x = shape
        columns = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
        spacing = tuple(round(float(length), 6) for length in columns[::-1])
        return cls((z, y, x), (spacing[0], spacing[1], spacing[2]), np.asarray(affine, dtype=np.float64))

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Tell whether both grids have the same voxels at the same places, to `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        far = np.array([*self.shape[::-1], 1.0])
        near = np.array([0.0, 0.0, 0.0, 1.0])
        corners = np.stack([near, far], axis=1)
        same_corners = np.abs(self.affine @ corners - other.affine @ corners).max() <= tolerance_mm
        return bool(same_corners and np.abs(self.affine[:3, :3] - other.affine[:3, :3]).max() <= tolerance_mm)

    def with_spacing(self, spacing: Spacing) -> "Grid":
        """Return a grid of exactly `spacing` over the same extent, centred on the same point."""
        shape: list[int] = []
        affine = self.affine.copy()
        for axis, (count, old, new) in enumerate(zip(self.shape, self.spacing, spacing, strict=True)):
            fresh = count if new == old else max(1, round(count * old / new))
            first = ((count - 1) * old - (fresh - 1) * new) / 2 / old
            column = 2 - axis
            affine[:3, 3] += self.affine[:3, column] * first
            affine[:3, column] = self.affine[:3, column] * (new / old)
            shape.append(fresh)
        return Grid((shape[0], shape[1], shape[2]), spacing, affine)
