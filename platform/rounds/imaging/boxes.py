"""Where in an array something is."""

import numpy as np
import numpy.typing as npt

Region = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]


def bounding_box(region: Region) -> Box | None:
    """Return the bounding box of a region (z, y, x), or None if it is empty."""
    box: list[slice] = []
    for others in ((1, 2), (0, 2), (0, 1)):
        used = np.flatnonzero(region.any(axis=others))
        if not len(used):
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return box[0], box[1], box[2]
