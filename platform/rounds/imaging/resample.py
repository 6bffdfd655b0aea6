"""Bringing volumes from one voxel grid to another without moving anything in space."""

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from rounds.imaging.grid import Spacing
from rounds.imaging.volume import Volume

READING_STEP_MM = 2.5
THIN_STEP_MM = 2.0
TRAINING_SPACING: Spacing = (2.5, 1.0, 1.0)
_ROUNDED_MM = 0.01
_BLOCK = 64
_DEPTH = 4
"""Slices made at a time: fewer read more of their neighbours anew, more take memory and multiply more zeros."""

Weights = npt.NDArray[np.float32]


def to_reading_grid(volume: Volume) -> Volume:
    """Resample slices thinner than 2 mm to 2.5 mm; in the plane, and for thicker slices, nothing changes."""
    step = volume.spacing[0]
    if step >= THIN_STEP_MM - _ROUNDED_MM:
        return volume
    return resample(volume, (READING_STEP_MM, *volume.spacing[1:]))


def to_training_grid(volume: Volume) -> Volume:
    """Resample to exactly (2.5, 1, 1) mm, cubic."""
    return resample(volume, TRAINING_SPACING)


def resample(volume: Volume, spacing: Spacing) -> Volume:
    """Resample to exactly `spacing` mm by separable cubic convolution (Keys 1981), widened where it downsamples.

    The extent keeps its centre, and the affine of the result is exact. Edge voxels repeat outward. Slices are
    worked off in blocks, so memory is the source, the result and a few dozen slices.
    """
    target = volume.grid.with_spacing(spacing)
    weights_z, weights_y, weights_x = (
        cubic_weights(source, count, old, new)
        for source, count, old, new in zip(volume.shape, target.shape, volume.spacing, spacing, strict=True)
    )
    result = np.empty(target.shape, dtype=np.int16)
    with one_thread():
        _resample_into(result, volume.array, weights_z, weights_y, weights_x)
    return Volume(result, spacing, target.affine)


def one_thread() -> AbstractContextManager[object]:
    """Hold the BLAS to one thread: on busy cores its threads cost ten times what these products do."""
    limited: AbstractContextManager[object] = _blas().limit(limits=1)
    return limited


@lru_cache(maxsize=1)
def _blas() -> Any:
    return ThreadpoolController()


def _resample_into(
    result: npt.NDArray[np.int16],
    array: npt.NDArray[np.int16],
    weights_z: Weights,
    weights_y: Weights,
    weights_x: Weights,
) -> None:
    _, source_y, source_x = array.shape
    depth = max(1, min(_DEPTH, _BLOCK * 512 * 512 // (4 * source_y * source_x)))
    for start in range(0, len(result), depth):
        stop = min(start + depth, len(result))
        slab = _slices(array, weights_z, start, stop)
        slab = _rows_of_slices(slab, weights_y)
        slab = _columns_of_slices(slab, weights_x)
        np.rint(slab, out=slab)
        np.clip(slab, -1024, 32767, out=slab)
        result[start:stop] = slab


def _slices(array: npt.NDArray[np.int16], weights: Weights, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Make some slices, a block of rows at a time, so that what is multiplied stays in the processor's cache."""
    if _is_identity(weights):
        return array[start:stop].astype(np.float32)
    band, low, high = _band(weights, start, stop)
    _, height, width = array.shape
    result = np.empty((stop - start, height, width), dtype=np.float32)
    for first in range(0, height, _BLOCK):
        part = array[low:high, first : first + _BLOCK].astype(np.float32)
        made = band @ part.reshape(high - low, -1)
        result[:, first : first + _BLOCK] = made.reshape(stop - start, -1, width)
    return result


def cubic_weights(source: int, count: int, old: float, new: float) -> Weights:
    """Return the matrix (count, source) that resamples `source` samples `old` mm apart to `count` ones `new` apart."""
    return kernel_weights(source, count, _positions(source, count, old, new), new / old, cubic=True)


def _positions(source: int, count: int, old: float, new: float) -> tuple[float, float]:
    """Return the first target sample and the step, in source samples, of grids with the same centre."""
    return ((source - 1) * old - (count - 1) * new) / 2 / old, new / old


@lru_cache(maxsize=16)
def kernel_weights(
    source: int, count: int, placed: tuple[float, float], ratio: float, *, cubic: bool
) -> Weights:
    """Sample a kernel, widened by `ratio` where that is above 1, at every pair of target and source samples."""
    first, step = placed
    places = first + step * np.arange(count)
    snapped = np.rint(places)
    places = np.where(np.abs(places - snapped) < 1e-9, snapped, places)
    scale = max(1.0, abs(ratio))
    reach = int(np.ceil((2 if cubic else 1) * scale))
    taps = np.floor(places)[:, None].astype(np.int64) + np.arange(-reach + 1, reach + 1)[None]
    distance = np.abs(places[:, None] - taps) / scale
    values = _cubic(distance) if cubic else np.maximum(0.0, 1.0 - distance)
    values /= values.sum(axis=1, keepdims=True)
    matrix = np.zeros((count, source))
    rows = np.repeat(np.arange(count), taps.shape[1])
    np.add.at(matrix, (rows, np.clip(taps, 0, source - 1).ravel()), values.ravel())
    return matrix.astype(np.float32)


def _cubic(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Evaluate the cubic convolution kernel with a = -1/2 (Keys 1981), which reproduces quadratics."""
    near = (1.5 * t - 2.5) * t * t + 1.0
    far = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _band(weights: Weights, start: int, stop: int) -> tuple[Weights, int, int]:
    """Cut the rows `start:stop` of a banded matrix down to the columns that they use."""
    used = np.flatnonzero(weights[start:stop].any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    return np.ascontiguousarray(weights[start:stop, low:high]), low, high


def _is_identity(weights: Weights) -> bool:
    return weights.shape[0] == weights.shape[1] and bool((weights == np.eye(len(weights))).all())


def _rows_of_slices(slab: npt.NDArray[np.float32], weights: Weights) -> npt.NDArray[np.float32]:
    if _is_identity(weights):
        return slab
    result = np.empty((slab.shape[0], weights.shape[0], slab.shape[2]), dtype=np.float32)
    for start in range(0, weights.shape[0], _BLOCK):
        stop = min(start + _BLOCK, weights.shape[0])
        band, low, high = _band(weights, start, stop)
        for index, one in enumerate(slab):
            np.matmul(band, one[low:high], out=result[index, start:stop])
    return result


def _columns_of_slices(slab: npt.NDArray[np.float32], weights: Weights) -> npt.NDArray[np.float32]:
    if _is_identity(weights):
        return slab
    lines = slab.reshape(-1, slab.shape[2])
    result = np.empty((len(lines), weights.shape[0]), dtype=np.float32)
    for start in range(0, weights.shape[0], _BLOCK):
        stop = min(start + _BLOCK, weights.shape[0])
        band, low, high = _band(weights, start, stop)
        np.matmul(lines[:, low:high], band.T, out=result[:, start:stop])
    return result.reshape(slab.shape[0], slab.shape[1], weights.shape[0])
