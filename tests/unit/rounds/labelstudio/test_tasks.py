"""Cases are cut into slabs and put together again."""

import numpy as np
import pytest

from rounds.labelstudio.codec import Mask
from rounds.labelstudio.tasks import TaskRef, cut_slabs, merge_slabs


def parts_of(mask: Mask, size: int | None) -> list[tuple[TaskRef, Mask]]:
    return [
        (TaskRef(10 + slab, 1, 1, slab, first, slices), mask[first : first + slices])
        for slab, first, slices in cut_slabs(mask.shape[0], size)
    ]


@pytest.mark.parametrize(
    ("slices", "size", "expected"),
    [
        (5, None, [(0, 0, 5)]),
        (64, 32, [(0, 0, 32), (1, 32, 32)]),
        (65, 32, [(0, 0, 32), (1, 32, 32), (2, 64, 1)]),
        (3, 32, [(0, 0, 3)]),
        (0, None, []),
    ],
)
def test_slabs(slices: int, size: int | None, expected: list[tuple[int, int, int]]) -> None:
    assert cut_slabs(slices, size) == expected


@pytest.mark.parametrize("size", [None, 4, 5, 32])
def test_slabs_come_together_in_any_order(size: int | None) -> None:
    mask = np.random.default_rng(3).integers(0, 2, (10, 4, 4)).astype(np.uint8)
    assert np.array_equal(merge_slabs(reversed(parts_of(mask, size))), mask)


@pytest.mark.parametrize("wrong", ["missing", "doubled", "short"])
def test_a_hole_is_refused(wrong: str) -> None:
    parts = parts_of(np.zeros((10, 4, 4), np.uint8), 4)
    if wrong == "missing":
        del parts[1]
    elif wrong == "doubled":
        parts.append(parts[1])
    else:
        parts[0] = (parts[0][0], parts[0][1][:-1])
    with pytest.raises(ValueError, match="label 1: slab"):
        merge_slabs(parts)
