"""Where the lungs are: the air inside the body and the chest cavity around it; only that goes on to a model."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from rounds_models.data import TRAINING_SPACING, Image

Box = tuple[slice, slice, slice]
Region = NDArray[np.bool_]
OUTSIDE_HU = -1024
_AIR_HU = -400
_STRIDE = 4
_MARGIN_MM = 10.0
_LEAST_SHARE = 0.02
_NEIGHBOURS = 2  # slices on each side that a cavity is smoothed over
_RIM = 1  # coarse voxels of the chest wall that stay


def only_lungs(image: Image) -> tuple[Image, Box]:
    """Return the scan in the box around the lungs, -1024 HU outside the chest cavity, and that box.

    Wang 2020 lets only the lungs go on to the lesion model. Here the cavity stands for them: in each slice the convex
    hull of both lungs and of their mirror image, so that a lung which disease has filled is kept. The box has a margin
    of 10 mm. Without lungs the scan is returned whole: air that touches the in-plane border is outside the body, and of
    the rest pieces smaller than a tenth of the largest (bowel, trachea cut off) do not count.
    """
    inside = _lungs(image)
    if inside is None:
        whole = tuple(slice(0, size) for size in image.shape)
        return image, (whole[0], whole[1], whole[2])
    box = _grown(inside, image.shape)
    cavity = _cavity(inside).repeat(_STRIDE, axis=1).repeat(_STRIDE, axis=2)
    return np.where(cavity[box], image[box], np.int16(OUTSIDE_HU)), box


def _lungs(image: Image) -> Region | None:
    """Return the air inside the body (z, y / 4, x / 4), or None when there is too little."""
    coarse = image[:, ::_STRIDE, ::_STRIDE]
    labels, count = ndimage.label(coarse < _AIR_HU)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[_border_labels(labels)] = 0
    sizes[0] = 0
    if sizes.max() < _LEAST_SHARE * coarse.size:
        return None
    return np.asarray(np.isin(labels, np.flatnonzero(sizes >= sizes.max() / 10)))


def _cavity(lungs: Region) -> Region:
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    both = lungs.copy()
    ends = int(columns[0]) + int(columns[-1])
    seen = np.arange(columns[0], columns[-1] + 1)
    both[:, :, seen] |= lungs[:, :, ends - seen]
    hulls = np.stack([_hull(plane) for plane in both])
    return np.asarray(
        ndimage.binary_dilation(
            ndimage.maximum_filter1d(hulls, 2 * _NEIGHBOURS + 1, axis=0),
            np.ones((1, 2 * _RIM + 1, 2 * _RIM + 1)),
        )
    )


def _hull(plane: Region) -> Region:
    """Fill the convex hull of what is set in (y, x)."""
    points = np.argwhere(plane)
    try:
        facets = ConvexHull(points).equations
    except (QhullError, ValueError):  # fewer than three points, or all in a line
        return plane
    y, x = np.ogrid[: plane.shape[0], : plane.shape[1]]
    inside = np.ones(plane.shape, dtype=np.bool_)
    for a, b, c in facets:
        inside &= a * y + b * x + c <= 1e-9
    return inside


def _border_labels(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    edges = (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1])
    return np.unique(np.concatenate([edge.ravel() for edge in edges]))


def _grown(inside: Region, shape: tuple[int, ...]) -> Box:
    box: list[slice] = []
    for axis, (size, spacing) in enumerate(zip(shape, TRAINING_SPACING, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(inside.any(axis=others))
        step = 1 if axis == 0 else _STRIDE
        margin = round(_MARGIN_MM / spacing)
        start = max(0, int(found[0]) * step - margin)
        box.append(slice(start, min(size, (int(found[-1]) + 1) * step + margin)))
    return box[0], box[1], box[2]
