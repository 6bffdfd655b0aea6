"""How a drawn outline differs from the true one: pieces missed, pieces too many, edges that stray."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.imaging.grid import Spacing

Region = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

TOLERANCE_MM = 2.0  # no reader quarrels about less; never under one pixel
SMALLEST_ML = 0.1  # pieces below this are no lesion to anybody
_ALL = np.ones((3, 3, 3), dtype=bool)


def frame(*masks: npt.NDArray[np.uint8], spacing: Spacing) -> Box:
    """Return the index box around everything drawn in any mask, with room for careless outlines."""
    drawn = np.logical_or.reduce([mask > 0 for mask in masks])
    if not drawn.any():
        return tuple(slice(0, n) for n in drawn.shape)  # type: ignore[return-value]
    sides = []
    for axis, (n, step) in enumerate(zip(drawn.shape, spacing, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        at = np.flatnonzero(drawn.any(axis=others))
        room = 1 + int(np.ceil(24 / step)) if axis else 1
        sides.append(slice(max(0, int(at[0]) - room), min(n, int(at[-1]) + 1 + room)))
    return sides[0], sides[1], sides[2]


def grown(region: Region, spacing: Spacing, tolerances: int) -> Region:
    """Widen in the plane by so many tolerances, each 2 mm or one pixel, whichever is more."""
    return _dilated(region, tolerances * _pixels(spacing))


def pieces_of(region: Region) -> npt.NDArray[np.int32]:
    """Number the connected pieces from 1; touching at a corner counts."""
    return np.asarray(ndimage.label(region, _ALL)[0], dtype=np.int32)


def missed_pieces(drawn: Region, true: Region, spacing: Spacing) -> Region:
    """Return the true lesions of 0.1 ml or more of which less than a fifth was drawn."""
    return _uncovered(true, drawn, spacing, 0.2)


def excess(drawn: Region, true: Region, spacing: Spacing) -> Region:
    """Return the drawn pieces of 0.1 ml or more that no true lesion comes near."""
    return _uncovered(drawn, grown(true, spacing, 1), spacing, 0.02)


def strayed(drawn: Region, true: Region, spacing: Spacing) -> Region:
    """Return where either outline leaves the other by more than the tolerance."""
    return (drawn & ~grown(true, spacing, 1)) | (true & ~grown(drawn, spacing, 1))


def wobble(true: Region, rng: np.random.Generator, spacing: Spacing) -> Region:
    """Redraw a region as a hand does: right to within one tolerance, and no small piece lost."""
    if not true.any():
        return true.copy()
    reach = _pixels(spacing)
    soft = ndimage.gaussian_filter(true.astype(np.float32), (0, 0.9 * reach, 0.9 * reach))
    hand = ndimage.gaussian_filter(
        rng.standard_normal(true.shape, dtype=np.float32), (0.4, 2.0 * reach, 2.0 * reach)
    )
    hand *= np.float32(0.13 / max(float(hand.std()), 1e-6))
    drawn = (soft + hand > 0.5) & grown(true, spacing, 1)
    drawn |= ~_dilated(~true, reach)
    drawn |= true & ~_dilated(drawn, reach)
    pieces = pieces_of(true)
    size = np.bincount(pieces.ravel())
    left = np.bincount(pieces.ravel(), weights=drawn.ravel(), minlength=len(size))
    lost = (left < 0.6 * size) & (np.arange(len(size)) > 0)
    return np.asarray(drawn | lost[pieces], dtype=np.bool_)


def _dilated(region: Region, steps: int) -> Region:
    """Widen by so many pixels up, down, left and right within each slice; nothing comes in from outside."""
    wide = region
    for _ in range(steps):
        last, wide = wide, wide.copy()
        wide[:, 1:] |= last[:, :-1]
        wide[:, :-1] |= last[:, 1:]
        wide[:, :, 1:] |= last[:, :, :-1]
        wide[:, :, :-1] |= last[:, :, 1:]
    return wide


def _uncovered(pieces_in: Region, other: Region, spacing: Spacing, share: float) -> Region:
    pieces = pieces_of(pieces_in)
    size = np.bincount(pieces.ravel()).astype(np.float64)
    hit = np.bincount(pieces.ravel(), weights=other.ravel(), minlength=len(size))
    alone = (hit < share * size) & (size * np.prod(spacing) / 1000 >= SMALLEST_ML)
    alone[0] = False
    return np.asarray(alone[pieces], dtype=np.bool_)


def _pixels(spacing: Spacing) -> int:
    return max(1, round(TOLERANCE_MM / spacing[1]))
