"""Bringing a mask from the grid that readers drew on back to the slices as scanned, with the volume of every lesion."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.imaging.boxes import Box
from rounds.imaging.grid import Grid
from rounds.imaging.resample_mask import Mask, resample_mask

TOLERANCE = 0.005
_MARGIN = 2
_ANY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)


def mask_to_source(mask: Mask, reading: Grid, source: Grid) -> Mask:
    """Bring a mask of label values (z, y, x) from the reading grid to the source grid.

    On the same grid nothing changes. Otherwise every connected region of labels is resampled by itself, and where that
    changes its volume by more than `TOLERANCE` (slices that lie half-way between two drawn ones belong to neither), its
    surface gives or takes the voxels that lie deepest, by the interpolated distance to the drawn outline (after Raya
    and Udupa 1990), until the volume is that of the drawing.
    """
    if reading.same_as(source):
        return mask.copy()
    result = np.zeros(source.shape, dtype=np.uint8)
    regions, count = ndimage.label(mask != 0, structure=_ANY_NEIGHBOUR)
    for number, box in enumerate(ndimage.find_objects(regions, count), 1):
        drawn = np.pad(np.where(regions[box] == number, mask[box], 0).astype(np.uint8), _MARGIN)
        start = [one.start - _MARGIN for one in box]
        near = _part(reading, start, drawn.shape)
        window = _reached(near, source)
        if window is None:
            continue
        far = _part(source, [one.start for one in window], tuple(one.stop - one.start for one in window))
        moved = _balanced(resample_mask(drawn, near, far), drawn, near, far)
        result[window][moved > 0] = moved[moved > 0]
    return result


def _balanced(moved: Mask, drawn: Mask, near: Grid, far: Grid) -> Mask:
    """Return `moved` with as much volume as `drawn`; only its outer surface changes, never one label for another."""
    wanted = round(np.count_nonzero(drawn) * _voxel(near) / _voxel(far))
    lacking = wanted - np.count_nonzero(moved)
    if abs(lacking) <= TOLERANCE * wanted:
        return moved
    to_near = (np.linalg.inv(near.affine) @ far.affine)[:3]
    matrix, offset = to_near[::-1, 2::-1], to_near[::-1, 3]
    inside = ndimage.distance_transform_edt(drawn != 0, sampling=near.spacing)
    outside, nearest = ndimage.distance_transform_edt(drawn == 0, sampling=near.spacing, return_indices=True)
    depth = ndimage.affine_transform(
        inside - outside, matrix, offset, output_shape=far.shape, order=1, mode="nearest"
    )
    if lacking > 0:
        values = ndimage.affine_transform(
            drawn[tuple(nearest)], matrix, offset, output_shape=far.shape, order=0, mode="nearest"
        )
        chosen = _deepest(depth, moved == 0, int(lacking))
        moved[chosen] = values[chosen]
    else:
        moved[_deepest(-depth, moved != 0, -int(lacking))] = 0
    return moved


def _deepest(
    depth: npt.NDArray[np.float64], among: npt.NDArray[np.bool_], count: int
) -> tuple[npt.NDArray[np.intp], ...]:
    """Return where the `count` greatest depths lie among some voxels; of equal ones the first."""
    places = np.flatnonzero(among)
    order = np.argsort(-depth.ravel()[places], kind="stable")[:count]
    return np.unravel_index(places[order], depth.shape)


def _part(grid: Grid, start: list[int], shape: tuple[int, ...]) -> Grid:
    """Return the grid of a box of a grid, which may reach beyond it."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ [float(first) for first in reversed(start)]
    z, y, x = shape
    return Grid((z, y, x), grid.spacing, affine)


def _reached(near: Grid, source: Grid) -> Box | None:
    """Return the box of `source` that the grid `near` covers, or None."""
    to_source = np.linalg.inv(source.affine) @ near.affine
    far = [size - 1 for size in near.shape[::-1]]
    corners = np.array([[x, y, z, 1] for x in (0, far[0]) for y in (0, far[1]) for z in (0, far[2])])
    reached = (corners @ to_source.T)[:, 2::-1]
    low = np.maximum(np.floor(reached.min(axis=0) + 1e-6).astype(int), 0)
    high = np.minimum(np.ceil(reached.max(axis=0) - 1e-6).astype(int) + 1, source.shape)
    if (low >= high).any():
        return None
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _voxel(grid: Grid) -> float:
    return abs(float(np.linalg.det(grid.affine[:3, :3])))
