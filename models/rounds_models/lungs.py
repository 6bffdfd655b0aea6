"""Where the lungs are: the air inside the body, by threshold, so that only the lungs go on to a model."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rounds_models.data import TRAINING_SPACING, Image

Box = tuple[slice, slice, slice]
_AIR_HU = -400
_STRIDE = 4
_MARGIN_MM = 10.0
_LEAST_SHARE = 0.02


def lung_box(image: Image) -> Box:
    """Return the box around the lungs with a margin of 10 mm, or the whole scan when no lungs are found.

    Air that touches the in-plane border is outside the body; of the rest, pieces smaller than a tenth of the
    largest (bowel, trachea cut off) do not count.
    """
    coarse = image[:, ::_STRIDE, ::_STRIDE]
    labels, count = ndimage.label(coarse < _AIR_HU)
    whole = tuple(slice(0, size) for size in image.shape)
    if count == 0:
        return whole[0], whole[1], whole[2]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[_border_labels(labels)] = 0
    sizes[0] = 0
    if sizes.max() < _LEAST_SHARE * coarse.size:
        return whole[0], whole[1], whole[2]
    inside = np.isin(labels, np.flatnonzero(sizes >= sizes.max() / 10))
    return _grown(inside, image.shape)


def _border_labels(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    edges = (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1])
    return np.unique(np.concatenate([edge.ravel() for edge in edges]))


def _grown(inside: NDArray[np.bool_], shape: tuple[int, ...]) -> Box:
    box: list[slice] = []
    for axis, (size, spacing) in enumerate(zip(shape, TRAINING_SPACING, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(inside.any(axis=others))
        step = 1 if axis == 0 else _STRIDE
        margin = round(_MARGIN_MM / spacing)
        start = max(0, int(found[0]) * step - margin)
        box.append(slice(start, min(size, (int(found[-1]) + 1) * step + margin)))
    return box[0], box[1], box[2]
