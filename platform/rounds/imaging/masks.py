"""Measuring masks: how much two agree, how far they differ, how large their lesions are."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.imaging.boxes import Region, bounding_box
from rounds.imaging.grid import Spacing

AnyMask = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


def dice(a: AnyMask, b: AnyMask) -> float:
    """Return the Dice coefficient of the non-zero voxels of two masks of one shape; 1 if both are empty."""
    _same_shape(a, b)
    first, second = a != 0, b != 0
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


def hd95(a: AnyMask, b: AnyMask, spacing: Spacing) -> float:
    """Return the 95th percentile Hausdorff distance in mm of the non-zero voxels; `spacing` (z, y, x) in mm.

    The larger of the two directed 95th percentiles between surface voxels (6-neighbourhood). 0 if both masks are
    empty, infinite if one is.
    """
    _same_shape(a, b)
    first, second = a != 0, b != 0
    box = bounding_box(first | second)
    if box is None:
        return 0.0
    first, second = first[box], second[box]
    if not first.any() or not second.any():
        return float("inf")
    edge_a, edge_b = _surface(first), _surface(second)
    to_b = ndimage.distance_transform_edt(~edge_b, sampling=spacing)[edge_a]
    to_a = ndimage.distance_transform_edt(~edge_a, sampling=spacing)[edge_b]
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))


def changed_voxels(a: AnyMask, b: AnyMask) -> int:
    """Count the voxels whose label value differs."""
    _same_shape(a, b)
    return int(np.count_nonzero(a != b))


def label_volumes_ml(mask: npt.NDArray[np.uint8], spacing: Spacing) -> dict[int, float]:
    """Return the volume in ml of each label value above 0 that occurs; `spacing` (z, y, x) in mm."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(value): int(counts[value]) * voxel_ml(spacing) for value in np.flatnonzero(counts) if value}


def lesion_volumes_ml(mask: AnyMask, spacing: Spacing) -> tuple[float, ...]:
    """Return the volume in ml of each connected lesion (26-neighbourhood, any label), the largest first."""
    box = bounding_box(mask != 0)
    if box is None:
        return ()
    lesions, _ = ndimage.label(mask[box] != 0, structure=np.ones((3, 3, 3), dtype=bool))
    counts = np.sort(np.bincount(lesions.ravel())[1:])[::-1]
    return tuple(int(count) * voxel_ml(spacing) for count in counts)


def voxel_ml(spacing: Spacing) -> float:
    """Return the volume of one voxel in ml; `spacing` in mm."""
    return spacing[0] * spacing[1] * spacing[2] / 1000.0


def _surface(region: Region) -> Region:
    inner = np.asarray(ndimage.binary_erosion(region), dtype=np.bool_)
    return np.logical_and(region, ~inner)


def _same_shape(a: AnyMask, b: AnyMask) -> None:
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")
