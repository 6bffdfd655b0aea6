"""A cheap look for the lungs: where they are and how dense they are."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.imaging.grid import Spacing
from rounds.imaging.volume import Volume

_WORKING_MM = 3.0
_AIR_BELOW_HU = -500
_MIN_LUNG_ML = 100.0


def lung_mask(volume: Volume) -> npt.NDArray[np.bool_]:
    """Return a coarse mask (z, y, x) of the aerated lungs: air inside the body, the two largest parts of it.

    Works on every n-th voxel (about 3 mm), so edges are rough; dense lesions at the wall are left out. Empty where
    there is no inner air of at least 100 ml.
    """
    strides = _strides(volume.spacing)
    coarse = volume.array[:: strides[0], :: strides[1], :: strides[2]]
    spacing = [step * stride for step, stride in zip(volume.spacing, strides, strict=True)]
    inner = _inner_air(coarse)
    parts, _ = ndimage.label(inner)
    counts = np.bincount(parts.ravel())
    counts[0] = 0
    enough = _MIN_LUNG_ML * 1000 / (spacing[0] * spacing[1] * spacing[2])
    largest = [int(part) for part in np.argsort(counts)[::-1][:2] if counts[part] >= enough]
    lungs = np.isin(parts, largest) if largest else np.zeros(coarse.shape, dtype=bool)
    for axis, stride in enumerate(strides):
        lungs = np.repeat(lungs, stride, axis=axis)
    z, y, x = volume.array.shape
    return np.asarray(lungs[:z, :y, :x], dtype=bool)


def median_lung_hu(volume: Volume) -> float | None:
    """Return the median HU of the aerated lungs (about -860 in a healthy inspiration), or None without lungs."""
    lungs = lung_mask(volume)
    return float(np.median(volume.array[lungs])) if lungs.any() else None


def _inner_air(coarse: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Return the air that no slice connects with its own border."""
    air = coarse < _AIR_BELOW_HU
    inner = np.zeros_like(air)
    for index, one in enumerate(air):
        parts, count = ndimage.label(one)
        border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
        keep = np.ones(count + 1, dtype=bool)
        keep[border] = False
        keep[0] = False
        inner[index] = keep[parts]
    return inner


def _strides(spacing: Spacing) -> tuple[int, int, int]:
    z, y, x = (max(1, int(_WORKING_MM / step)) for step in spacing)
    return z, y, x
