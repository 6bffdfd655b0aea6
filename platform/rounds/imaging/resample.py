"""Bringing volumes and masks from one voxel grid to another without moving anything in space."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from rounds.imaging.grid import Grid, Spacing
from rounds.imaging.masks import Box, bounding_box
from rounds.imaging.volume import Volume

READING_STEP_MM = 2.5
THIN_STEP_MM = 2.0
TRAINING_SPACING: Spacing = (2.5, 1.0, 1.0)
_ROUNDED_MM = 0.01
_BLOCK = 64
_SNAP = 1e-3

Weights = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


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
    with _blas().limit(limits=1):
        _resample_into(result, volume.array, weights_z, weights_y, weights_x)
    return Volume(result, spacing, target.affine)


@lru_cache(maxsize=1)
def _blas() -> Any:
    """Find the BLAS to hold to one thread: on busy cores its threads cost ten times what these products do."""
    return ThreadpoolController()


def _resample_into(
    result: npt.NDArray[np.int16],
    array: npt.NDArray[np.int16],
    weights_z: Weights,
    weights_y: Weights,
    weights_x: Weights,
) -> None:
    _, source_y, source_x = array.shape
    depth = max(1, min(16, _BLOCK * 512 * 512 // (4 * source_y * source_x)))
    for start in range(0, len(result), depth):
        stop = min(start + depth, len(result))
        rows, low, high = _band(weights_z, start, stop)
        slab = array[low:high].astype(np.float32)
        if not _is_identity(weights_z):
            slab = (rows @ slab.reshape(high - low, -1)).reshape(stop - start, source_y, source_x)
        slab = _rows_of_slices(slab, weights_y)
        slab = _columns_of_slices(slab, weights_x)
        np.rint(slab, out=slab)
        np.clip(slab, -1024, 32767, out=slab)
        result[start:stop] = slab


def resample_mask(mask: Mask, source: Grid, target: Grid) -> Mask:
    """Bring a mask of label values (z, y, x) from the grid `source` to the grid `target` by physical position.

    Each label is interpolated linearly (averaged where the target is coarser) and a voxel takes the label, or the
    background, with the greatest share; at equal shares the lower value. On the same grid nothing changes.
    """
    if mask.shape != source.shape:
        raise ValueError(f"the mask has shape {mask.shape}, its grid {source.shape}")
    if source.same_as(target):
        return mask.copy()
    result = np.zeros(target.shape, dtype=np.uint8)
    extents = bounding_box(mask != 0)
    window = None if extents is None else _window(extents, source, target)
    if window is not None:
        result[window] = _resample_labels(mask, source, _cut(target, window))
    return result


def _resample_labels(mask: Mask, source: Grid, target: Grid) -> Mask:
    """Give each voxel of `target` the label, or the background, that covers most of it."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    linear = to_source[:3, :3]
    separable = bool(np.abs(linear - np.diag(np.diag(linear))).max() < _SNAP / 10)
    best = np.zeros(target.shape, dtype=np.float32)
    covered = np.zeros(target.shape, dtype=np.float32)
    result = np.zeros(target.shape, dtype=np.uint8)
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:]) + 1:
        with _blas().limit(limits=1):
            share, box = _share(mask == value, to_source, target, separable)
        if box is None:
            continue
        covered[box] += share
        result[box][share > best[box] + 1e-6] = value
        best[box] = np.maximum(best[box], share)
    result[1.0 - covered >= best - 1e-6] = 0
    return result


def _window(extents: Box, source: Grid, target: Grid) -> Box | None:
    """Return the box of `target` that the box `extents` of `source` can reach, or None if they do not meet."""
    to_target = np.linalg.inv(target.affine) @ source.affine
    ends = [(one.start - 1, one.stop) for one in reversed(extents)]
    corners = np.array([[x, y, z, 1] for x in ends[0] for y in ends[1] for z in ends[2]], dtype=np.float64)
    reached = (corners @ to_target.T)[:, :3][:, ::-1]
    low = np.maximum(np.floor(reached.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(reached.max(axis=0)).astype(int) + 3, target.shape)
    if (low >= high).any():
        return None
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _cut(grid: Grid, window: Box) -> Grid:
    """Return the part of a grid in a box."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ [float(one.start) for one in reversed(window)]
    z, y, x = (one.stop - one.start for one in window)
    return Grid((z, y, x), grid.spacing, affine)


def cubic_weights(source: int, count: int, old: float, new: float) -> Weights:
    """Return the matrix (count, source) that resamples `source` samples `old` mm apart to `count` ones `new` apart."""
    return _weights(source, count, _positions(source, count, old, new), new / old, cubic=True)


def _positions(source: int, count: int, old: float, new: float) -> tuple[float, float]:
    """Return the first target sample and the step, in source samples, of grids with the same centre."""
    return ((source - 1) * old - (count - 1) * new) / 2 / old, new / old


@lru_cache(maxsize=16)
def _weights(source: int, count: int, placed: tuple[float, float], ratio: float, *, cubic: bool) -> Weights:
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


def _share(
    region: npt.NDArray[np.bool_], to_source: npt.NDArray[np.float64], target: Grid, separable: bool
) -> tuple[npt.NDArray[np.float32], Box | None]:
    """Return how much of each target voxel one label covers, on the box of the target where it may be."""
    if not separable:
        matrix = to_source[:3, :3][::-1, ::-1]
        offset = to_source[:3, 3][::-1]
        share = ndimage.affine_transform(
            region.astype(np.float32), matrix, offset, output_shape=target.shape, order=1, mode="constant"
        )
        return np.asarray(share, dtype=np.float32), (slice(None), slice(None), slice(None))
    extents = bounding_box(region)
    if extents is None:
        return np.zeros(target.shape, dtype=np.float32), None
    cropped: npt.NDArray[np.float32] = region[extents].astype(np.float32)
    box: list[slice] = []
    for axis, extent in enumerate(extents):
        column = 2 - axis
        placed = _placed(to_source[column, 3], to_source[column, column])
        weights = _inside(region.shape[axis], target.shape[axis], placed)[:, extent]
        used = np.flatnonzero(weights.any(axis=1))
        if not len(used):
            return cropped, None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
        spread = np.tensordot(weights[box[-1]], cropped, axes=(1, axis))
        cropped = np.moveaxis(spread, 0, axis).astype(np.float32, copy=False)
    return cropped, (box[0], box[1], box[2])


def _placed(first: float, step: float) -> tuple[float, float]:
    """Round away what storing an affine in single precision leaves behind."""
    return round(float(first) / _SNAP) * _SNAP, round(float(step), 6)


def _inside(source: int, count: int, placed: tuple[float, float]) -> Weights:
    """Return linear weights (count, source) with nothing but background outside the source."""
    reach = int(np.ceil(max(1.0, abs(placed[1])))) + 1
    first, step = placed
    padded = _weights(source + 2 * reach, count, (first + reach, step), step, cubic=False)
    return padded[:, reach : reach + source]
