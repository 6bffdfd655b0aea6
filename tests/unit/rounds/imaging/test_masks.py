"""Measures of masks against definitions worked out by brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from rounds.imaging.masks import changed_voxels, dice, hd95, label_volumes_ml, lesion_volumes_ml

SPACING = (2.5, 0.7, 0.8)


def box(low: int, high: int) -> np.ndarray:
    mask = np.zeros((14, 20, 22), dtype=np.uint8)
    mask[low:high, low:high, low:high] = 1
    return mask


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the positions in mm of voxels with a face to the background, found one by one."""
    padded = np.pad(mask != 0, 1)
    places = []
    for z, y, x in np.argwhere(padded):
        around = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
        if not all(padded[z + dz, y + dy, x + dx] for dz, dy, dx in around):
            places.append((z, y, x))
    return np.array(places) * SPACING


def test_dice() -> None:
    assert dice(box(2, 6), box(2, 6)) == 1.0
    assert dice(box(2, 6), box(4, 8)) == pytest.approx(2 * 8 / (64 + 64))
    assert dice(box(2, 4), box(8, 9)) == 0.0
    assert dice(box(0, 0), box(0, 0)) == 1.0
    with pytest.raises(ValueError, match="compared"):
        dice(box(0, 1), np.zeros((1, 1, 1), dtype=np.uint8))


def test_hd95_is_what_brute_force_finds() -> None:
    rng = np.random.default_rng(5)
    a, b = box(3, 9), box(4, 12)
    b[rng.random(b.shape) > 0.995] = 1
    between = cdist(surface(a), surface(b))
    expected = max(np.percentile(between.min(axis=0), 95), np.percentile(between.min(axis=1), 95))
    assert hd95(a, b, SPACING) == pytest.approx(expected)
    assert hd95(b, a, SPACING) == hd95(a, b, SPACING)
    assert hd95(a, a, SPACING) == 0.0


def test_hd95_of_empty_masks() -> None:
    assert hd95(box(0, 0), box(0, 0), SPACING) == 0.0
    assert hd95(box(2, 3), box(0, 0), SPACING) == float("inf")


def test_changed_voxels_counts_labels_not_only_foreground() -> None:
    a, b = box(2, 4), box(2, 4)
    b[2, 2, 2] = 3
    b[0, 0, 0] = 1
    assert changed_voxels(a, b) == 2


def test_volumes_in_millilitres() -> None:
    mask = box(1, 4)
    mask[10:12, 10:12, 10:12] = 7
    voxel = 2.5 * 0.7 * 0.8 / 1000
    assert label_volumes_ml(mask, SPACING) == pytest.approx({1: 27 * voxel, 7: 8 * voxel})
    assert lesion_volumes_ml(mask, SPACING) == pytest.approx((27 * voxel, 8 * voxel))
    mask[4, 4, 4] = 7
    assert lesion_volumes_ml(mask, SPACING)[0] == pytest.approx(28 * voxel)
    assert lesion_volumes_ml(box(0, 0), SPACING) == ()
