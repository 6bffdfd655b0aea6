"""What a mask looks like on screen: overlays, where it has voxels, and which side of the patient is where."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from rounds.imaging.nifti import decode_mask
from rounds.imaging.render import overlay_png

Mask = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]

EDGES = (("R", "L"), ("A", "P"), ("S", "I"))  # where +x, -x, +y, -y, +z and -z of RAS point


class UnknownSlice(Exception):
    """The case has no such slice."""


class MaskCache:
    """The few masks that people look at now, decoded; references are content hashes, so nothing goes stale."""

    def __init__(self, fetch: Callable[[str], bytes], size: int = 6) -> None:
        self._fetch = fetch
        self._size = size
        self._masks: OrderedDict[str, Mask] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ref: str) -> Mask:
        """Return a mask uint8 (z, y, x); a page's many overlay requests decode it once."""
        with self._lock:
            if ref not in self._masks:
                self._masks[ref] = decode_mask(self._fetch(ref))[0]
                while len(self._masks) > self._size:
                    self._masks.popitem(last=False)
            self._masks.move_to_end(ref)
            return self._masks[ref]


def overlay(mask: Mask, index: int, colours: Mapping[int, str]) -> bytes:
    """Return slice `index` of a mask (z, y, x) as RGBA PNG; raise UnknownSlice."""
    if not 0 <= index < mask.shape[0]:
        raise UnknownSlice(f"slice {index} does not exist: this case has slices 0 to {mask.shape[0] - 1}")
    return overlay_png(mask[index], colours)


def voxels(mask: Mask) -> list[int]:
    """Return how many labelled voxels each slice has, inferior to superior."""
    return [int(count) for count in np.count_nonzero(mask, axis=(1, 2))]


def edges(affine: Affine) -> dict[str, str]:
    """Return which side of the patient lies at each edge of the image; `affine` maps voxel (x, y, z) to RAS mm."""
    left, right = _sides(affine[:3, 0])
    top, bottom = _sides(affine[:3, 1])
    return {"left": left, "right": right, "top": top, "bottom": bottom}


def _sides(direction: npt.NDArray[np.float64]) -> tuple[str, str]:
    """Return the side at the low and at the high end of a voxel axis."""
    axis = int(np.argmax(np.abs(direction)))
    positive, negative = EDGES[axis]
    return (negative, positive) if direction[axis] > 0 else (positive, negative)
