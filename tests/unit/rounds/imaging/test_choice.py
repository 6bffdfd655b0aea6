"""The best volume of a study: complete, soft, thin, and the same whatever the order."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from rounds.imaging.choice import Kernel, best_of, kernel_of
from rounds.imaging.gate import Stack
from rounds.imaging.grid import Grid
from rounds.imaging.series import SliceHeader


def stack(uid: str, count: int, step: float, kernel: str) -> Stack:
    one = SliceHeader(Path(uid), uid, "study", "patient", f"{uid}.1", "frame", "", kernel=kernel)
    return Stack((one,) * count, Grid((count, 512, 512), (step, 0.7, 0.7), np.eye(4)))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (stack("1", 60, 5.0, "B70f"), stack("2", 200, 1.0, "B31f")),
        (stack("2", 100, 3.0, "B31f"), stack("1", 300, 1.0, "B70f")),
        (stack("2", 300, 1.0, "B31f"), stack("1", 100, 3.0, "B31f")),
        (stack("2", 310, 1.0, "B31f"), stack("1", 300, 1.0, "B31f")),
        (stack("2", 500, 0.6, "B31f"), stack("1", 300, 1.0, "B31f")),
        (stack("2", 300, 1.0, "B31f"), stack("1", 300, 1.0, "")),
        (stack("2", 300, 1.0, "odd"), stack("1", 300, 1.0, "LUNG")),
        (stack("1", 300, 1.0, "B31f"), stack("2", 300, 1.0, "B31f")),
    ],
)
def test_each_rule_decides_before_the_next(better: Stack, worse: Stack) -> None:
    assert best_of([better, worse]) is better
    assert best_of([worse, better]) is better


def test_the_order_of_a_study_does_not_matter() -> None:
    stacks = [
        stack("1", 60, 5.0, "B31f"),
        stack("2", 300, 1.0, "B70f"),
        stack("3", 300, 1.0, "B31f"),
        stack("4", 30, 1.0, "B31f"),
    ]
    assert {best_of(order).slices[0].series_uid for order in permutations(stacks)} == {"3"}
    with pytest.raises(ValueError, match="empty"):
        best_of([])


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("B31s", Kernel.SOFT),
        ("B70f", Kernel.SHARP),
        ("I30f/3", Kernel.SOFT),
        ("Br40d/3", Kernel.SOFT),
        ("Bl57d/3", Kernel.SHARP),
        ("FC08-H", Kernel.SOFT),
        ("FC51", Kernel.SHARP),
        ("STANDARD", Kernel.SOFT),
        ("LUNG", Kernel.SHARP),
        ("B", Kernel.SOFT),
        ("YA", Kernel.SHARP),
        ("B_SOFT_B", Kernel.SOFT),
        ("B_VSHARP_C", Kernel.SHARP),
        ("", Kernel.UNKNOWN),
        ("QQ", Kernel.UNKNOWN),
    ],
)
def test_kernels_of_the_makers(name: str, kernel: Kernel) -> None:
    assert kernel_of(name) is kernel
