"""Coordinates, smooth noise and soft painting on a CT grid: what every part of a phantom is drawn with."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Depth = Floats | NDArray[np.float64]
Mask = NDArray[np.uint8]
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """Broadcastable coordinates in mm about the middle of the scan: x to the left, y to the back, z upwards."""

    shape: Shape
    spacing: Triple
    z: Floats
    y: Floats
    x: Floats

    @property
    def height(self) -> float:
        """Length of the scan along z in mm."""
        return float(self.shape[0] * self.spacing[0])

    @property
    def u(self) -> Floats:
        """Height as a fraction, 0 at the lowest slice and 1 at the lung apex, shape (z, 1, 1)."""
        return np.asarray(self.z / self.height + 0.5, dtype=np.float32)

    @property
    def pixel(self) -> float:
        """Edge of a pixel in mm."""
        return self.spacing[1]

    def box(self, centre: Triple, reach: Triple) -> tuple[slice, slice, slice]:
        """Return the index box within `reach` mm of `centre` mm (z, y, x), clipped to the grid."""
        parts = []
        for n, step, middle, far in zip(self.shape, self.spacing, centre, reach, strict=True):
            at = middle / step + (n - 1) / 2
            low = min(max(int(np.floor(at - far / step)), 0), n)
            parts.append(slice(low, max(low, min(int(np.ceil(at + far / step)) + 1, n))))
        return parts[0], parts[1], parts[2]

    def millimetres(self, index: NDArray[np.int64]) -> Floats:
        """Convert voxel indices (n, 3) in (z, y, x) to mm."""
        middle = (np.array(self.shape) - 1) / 2
        return np.asarray((index - middle) * np.array(self.spacing), dtype=np.float32)


def make_grid(shape: Shape, spacing: Triple) -> Grid:
    """Lay a grid of `shape` voxels and `spacing` mm about the origin."""
    axes = [
        ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
        for n, step in zip(shape, spacing, strict=True)
    ]
    return Grid(shape, spacing, axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])


@lru_cache(maxsize=64)
def _spline_weights(n: int, knots: int) -> Floats:
    at = np.linspace(1, knots - 2.001, n)[:, None] - np.arange(knots)[None, :]
    far = np.abs(at)
    near = 2 / 3 - far**2 + far**3 / 2
    tail = np.clip(2 - far, 0, None) ** 3 / 6
    return np.where(far < 1, near, tail).astype(np.float32)


def smooth_noise(rng: np.random.Generator, grid: Grid, scale: float) -> Floats:
    """Draw a smooth random field (z, y, x) of mean 0 and deviation 1 whose bumps are about `scale` mm wide."""
    knots = [int(np.ceil(n * step / scale)) + 4 for n, step in zip(grid.shape, grid.spacing, strict=True)]
    field = rng.standard_normal(knots, dtype=np.float32)
    field = np.tensordot(_spline_weights(grid.shape[0], knots[0]), field, axes=(1, 0))
    field = np.matmul(_spline_weights(grid.shape[1], knots[1]), field)
    field = np.matmul(field, _spline_weights(grid.shape[2], knots[2]).T)
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


def cover(depth: Depth, width: float) -> Floats:
    """Turn a depth in mm (positive inside) into a share 0 to 1, with an edge `width` mm wide."""
    return np.asarray(np.clip(depth * (1 / width) + 0.5, 0, 1), dtype=np.float32)


def paint(hu: Floats, share: Depth, value: Depth | float) -> None:
    """Blend `value` HU into `hu` in place where `share` is above 0."""
    hu += share * (np.asarray(value, dtype=np.float32) - hu)


def ramp(u: Floats, low: float, high: float) -> Floats:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((u - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
