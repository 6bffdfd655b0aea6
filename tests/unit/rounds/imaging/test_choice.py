"""The best volume of a study: complete, soft, thin, and the same whatever the order."""

from itertools import permutations

import pytest

from rounds.imaging.choice import Candidate, Kernel, best_of, kernel_of, why


def volume(key: str, count: int, step: float, kernel: str) -> Candidate:
    return Candidate(key, count * step, kernel_of(kernel), step, count)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (volume("1", 60, 5.0, "B70f"), volume("2", 200, 1.0, "B31f")),
        (volume("2", 100, 3.0, "B31f"), volume("1", 300, 1.0, "B70f")),
        (volume("2", 300, 1.0, "B31f"), volume("1", 100, 3.0, "B31f")),
        (volume("2", 310, 1.0, "B31f"), volume("1", 300, 1.0, "B31f")),
        (volume("2", 500, 0.6, "B31f"), volume("1", 300, 1.0, "B31f")),
        (volume("2", 300, 1.0, "B31f"), volume("1", 300, 1.0, "")),
        (volume("2", 300, 1.0, "odd"), volume("1", 300, 1.0, "LUNG")),
        (volume("1", 300, 1.0, "B31f"), volume("2", 300, 1.0, "B31f")),
    ],
)
def test_each_rule_decides_before_the_next(better: Candidate, worse: Candidate) -> None:
    assert best_of([better, worse]) is better
    assert best_of([worse, better]) is better


def test_the_order_of_a_study_does_not_matter() -> None:
    volumes = [
        volume("1", 60, 5.0, "B31f"),
        volume("2", 300, 1.0, "B70f"),
        volume("3", 300, 1.0, "B31f"),
        volume("4", 30, 1.0, "B31f"),
    ]
    assert {best_of(order).key for order in permutations(volumes)} == {"3"}
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


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (volume("2", 60, 1.0, "B31f"), "complete where the next is partial"),
        (volume("2", 300, 1.0, "B70f"), "a softer kernel"),
        (volume("2", 100, 3.0, "B31f"), "thinner slices"),
        (volume("2", 290, 1.0, "B31f"), "more slices"),
        (volume("2", 300, 1.0, "B31f"), "first by key"),
    ],
)
def test_the_reason_is_the_rule_that_decided_against_the_next_best(second: Candidate, says: str) -> None:
    best, third = volume("1", 300, 1.0, "B31f"), volume("3", 30, 5.0, "B70f")
    assert says in why(best, [third, second])
    assert why(best, [third, second]).startswith("best of 3 series")
    assert why(best, []) == "the only series of its study"
