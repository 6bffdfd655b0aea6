"""A cheap look for the lungs: where they are, how dense they are, and whether a volume is a chest at all."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rounds.imaging.grid import Grid, Spacing
from rounds.imaging.refusal import Reason
from rounds.imaging.volume import Volume

_WORKING_MM = 3.0
_AIR_BELOW_HU = -500
_GAS_BELOW_HU = -950
_MIN_LUNG_ML = 100.0
_LUNG_AREA_MM2 = 500.0


@dataclass(frozen=True)
class ChestLimits:
    """What makes a volume a chest; on the generous side, for lungs that are small, resected or mostly consolidated.

    The bases of the lungs on an abdomen reach 80 mm at most, and gas in the bowel is darker than lung tissue.
    """

    min_range_mm: float = 90.0
    min_lung_ml: float = 400.0
    min_lung_height_mm: float = 85.0
    min_tissue_share: float = 0.25


@dataclass(frozen=True)
class Lungs:
    """The aerated lungs: volume in ml, the height in mm over which they have 5 cm2, median HU, the share of them that
    is tissue rather than gas (above -950 HU)."""

    ml: float
    height_mm: float
    median_hu: float
    tissue_share: float


CHEST_LIMITS = ChestLimits()
Parts = npt.NDArray[np.int32]


def find_lungs(volume: Volume) -> Lungs | None:
    """Measure the aerated lungs on every n-th voxel (about 3 mm), or return None where there are none of 100 ml."""
    coarse, spacing, mask = _coarse_lungs(volume)
    if not mask.any():
        return None
    hu = coarse[mask]
    area = mask.sum(axis=(1, 2)) * spacing[1] * spacing[2]
    return Lungs(
        ml=float(len(hu) * np.prod(spacing) / 1000),
        height_mm=float((area >= _LUNG_AREA_MM2).sum() * spacing[0]),
        median_hu=float(np.median(hu)),
        tissue_share=float((hu > _GAS_BELOW_HU).mean()),
    )


def range_fault(grid: Grid, limits: ChestLimits = CHEST_LIMITS) -> tuple[Reason, str] | None:
    """Say whether the slices cover too little height for a chest, with numbers."""
    height = grid.shape[0] * grid.spacing[0]
    if height >= limits.min_range_mm:
        return None
    return Reason.SHORT_RANGE, f"{height:.0f} mm, at least {limits.min_range_mm:.0f} mm needed"


def chest_fault(lungs: Lungs | None, limits: ChestLimits = CHEST_LIMITS) -> tuple[Reason, str] | None:
    """Say whether what was found of the lungs is too little for a chest, with numbers."""
    if lungs is None:
        return Reason.NOT_A_CHEST, "no lungs"
    if lungs.tissue_share < limits.min_tissue_share:
        return Reason.NOT_A_CHEST, "gas, but no lung tissue"
    if lungs.ml < limits.min_lung_ml or lungs.height_mm < limits.min_lung_height_mm:
        needed = f"{limits.min_lung_ml:.0f} ml over {limits.min_lung_height_mm:.0f} mm"
        return (
            Reason.NOT_A_CHEST,
            f"{lungs.ml:.0f} ml of lungs over {lungs.height_mm:.0f} mm, {needed} needed",
        )
    return None


def lung_mask(volume: Volume) -> npt.NDArray[np.bool_]:
    """Return a coarse mask (z, y, x) of the aerated lungs: air inside the body, the two largest parts of it.

    Works on every n-th voxel (about 3 mm), so edges are rough; dense lesions at the wall are left out. Empty where
    there is no inner air of at least 100 ml.
    """
    _, _, lungs = _coarse_lungs(volume)
    for axis, stride in enumerate(_strides(volume.spacing)):
        lungs = np.repeat(lungs, stride, axis=axis)
    z, y, x = volume.array.shape
    return np.asarray(lungs[:z, :y, :x], dtype=bool)


def median_lung_hu(volume: Volume) -> float | None:
    """Return the median HU of the aerated lungs (about -860 in a healthy inspiration), or None without lungs."""
    lungs = find_lungs(volume)
    return lungs.median_hu if lungs is not None else None


def _coarse_lungs(volume: Volume) -> tuple[npt.NDArray[np.int16], list[float], npt.NDArray[np.bool_]]:
    """Return every n-th voxel, their spacing in mm and the mask of the lungs among them, all (z, y, x)."""
    strides = _strides(volume.spacing)
    coarse = volume.array[:: strides[0], :: strides[1], :: strides[2]]
    spacing = [step * stride for step, stride in zip(volume.spacing, strides, strict=True)]
    pieces, sizes = _inner_air(coarse)
    lowest = _joined(pieces, len(sizes))
    counts = np.bincount(lowest, weights=sizes)
    counts[0] = 0
    enough = _MIN_LUNG_ML * 1000 / (spacing[0] * spacing[1] * spacing[2])
    largest = [int(part) for part in np.argsort(counts)[::-1][:2] if counts[part] >= enough]
    among = np.isin(lowest, largest)
    return coarse, spacing, np.stack([among[one] for one in pieces])


def _inner_air(coarse: npt.NDArray[np.int16]) -> tuple[Parts, Parts]:
    """Number the pieces (4-neighbourhood) of air that no slice connects with its own border, from 1 over all slices.

    Return them (z, y, x) and how many voxels each number has; numbers of other air have none, nor has 0.
    """
    air = (coarse < _AIR_BELOW_HU).astype(np.uint8)
    inner = np.zeros(air.shape, dtype=np.int32)
    sizes = [np.zeros(1, dtype=np.int32)]
    last = 0
    for index, one in enumerate(air):
        count, pieces, told, _ = cv2.connectedComponentsWithStats(one, connectivity=4, ltype=cv2.CV_32S)
        numbers = np.arange(last, last + count, dtype=np.int32)
        for outside in (0, pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
            numbers[outside] = 0
        inner[index] = numbers[pieces]
        sizes.append(np.where(numbers > 0, told[:, cv2.CC_STAT_AREA], 0)[1:])
        last += count - 1
    return inner, np.concatenate(sizes)


def _joined(pieces: Parts, count: int) -> Parts:
    """Return for each number the lowest of those that it is joined with from slice to slice, itself included."""
    touching = (pieces[:-1] > 0) & (pieces[1:] > 0)
    below, above = pieces[:-1][touching], pieces[1:][touching]
    new = (np.diff(below, prepend=0) != 0) | (np.diff(above, prepend=0) != 0)  # along a row they repeat
    pairs = np.stack(np.divmod(np.unique(below[new].astype(np.int64) * count + above[new]), count))
    lowest = np.arange(count, dtype=np.int32)
    while not np.array_equal(*(ends := lowest[pairs])):
        for side in pairs:
            np.minimum.at(lowest, side, ends.min(axis=0))
        lowest = lowest[lowest]
    return lowest


def _strides(spacing: Spacing) -> tuple[int, int, int]:
    z, y, x = (max(1, int(_WORKING_MM / step)) for step in spacing)
    return z, y, x
