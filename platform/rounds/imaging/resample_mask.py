"""Bringing masks of labels from one voxel grid to another without moving anything in space."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.imaging.boxes import Box, bounding_box
from rounds.imaging.grid import Grid
from rounds.imaging.resample import Weights, kernel_weights, one_thread

_SNAP = 1e-3

Mask = npt.NDArray[np.uint8]


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
        with one_thread():
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
    padded = kernel_weights(source + 2 * reach, count, (first + reach, step), step, cubic=False)
    return padded[:, reach : reach + source]
