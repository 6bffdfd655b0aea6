"""Acceptance sampling: the draw can be repeated and is fair, and the bound is the exact one."""

import hashlib
from collections import Counter
from itertools import combinations

import pytest

from rounds.audits.model import BadSample, commitment, draw, sample_size, tightened, upper_bound


@pytest.mark.parametrize(
    ("count", "share", "size"),
    [
        (0, 0.3, 0),
        (1, 0.3, 1),
        (3, 0.3, 1),
        (4, 0.3, 2),
        (10, 0.3, 3),  # 0.3 * 10 is 3.0000000000000004 or so in some orders: never 4
        (20, 0.3, 6),
        (100, 0.3, 30),
        (101, 0.3, 31),
        (10, 0.7, 7),
        (5, 0.01, 1),
        (12, 1.0, 12),
        (30, 0.1, 3),
    ],
)
def test_sample_size_is_the_share_rounded_up(count: int, share: float, size: int) -> None:
    assert sample_size(count, share) == size


def test_sample_is_never_below_the_share_nor_a_label_more_than_needed() -> None:
    for count in range(1, 300):
        for percent in range(1, 101):
            size = sample_size(count, percent / 100)
            assert size == max(1, -(-percent * count // 100)), (count, percent)


def test_draw_can_be_repeated_by_anyone_with_the_seed() -> None:
    labels = [3, 141, 59, 26, 535, 89, 79, 323, 84, 6]
    by_hand = sorted(labels, key=lambda n: hashlib.sha256(f"seed:{n}".encode()).hexdigest())[:3]
    assert draw(labels, 0.3, "seed") == tuple(sorted(by_hand))
    assert draw(labels[::-1], 0.3, "seed") == draw(labels, 0.3, "seed")
    assert draw(labels * 2, 0.3, "seed") == draw(labels, 0.3, "seed")
    assert len({draw(labels, 0.3, f"seed {i}") for i in range(20)}) > 10


def test_every_sample_is_equally_likely() -> None:
    """Chi-squared over all 20 samples of 3 from 6: 19 degrees of freedom, below 43.8 in 999 of 1000."""
    runs = 4000
    seen = Counter(draw([11, 12, 13, 14, 15, 16], 0.5, f"seed {run}") for run in range(runs))
    samples = list(combinations([11, 12, 13, 14, 15, 16], 3))
    assert set(seen) <= set(samples)
    expected = runs / len(samples)
    assert sum((seen[sample] - expected) ** 2 / expected for sample in samples) < 43.8


def test_commitment_gives_the_seed_away_to_nobody_and_binds() -> None:
    assert commitment("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("share", "next_share"), [(0.3, 0.6), (0.5, 1.0), (0.6, 1.0), (1.0, 1.0)])
def test_tightened_is_twice_the_share_and_never_more_than_all(share: float, next_share: float) -> None:
    assert tightened(share) == pytest.approx(next_share)


def enumerated_bound(count: int, drawn: int, failed: int, alpha: float) -> int:
    """Look at every possible sample: the most defectives with which `failed` or fewer are likely enough."""
    samples = list(combinations(range(count), drawn))
    largest = failed
    for defective in range(failed, count - (drawn - failed) + 1):
        few = sum(sum(item < defective for item in sample) <= failed for sample in samples)
        if few / len(samples) > alpha:
            largest = defective
    return largest


@pytest.mark.parametrize("count", range(1, 10))
def test_bound_against_every_possible_sample(count: int) -> None:
    for drawn in range(count + 1):
        for failed in range(drawn + 1):
            assert upper_bound(count, drawn, failed) == enumerated_bound(count, drawn, failed, 0.05), (
                drawn,
                failed,
            )


@pytest.mark.parametrize(
    ("count", "drawn", "failed", "bound"),
    [
        (10, 3, 0, 5),  # C(5,3)/C(10,3) = 10/120 = 0.083 > 0.05; C(4,3)/120 = 0.033
        (10, 10, 0, 0),
        (10, 10, 4, 4),
        (10, 0, 0, 10),
        (20, 6, 0, 6),  # C(14,6)/C(20,6) = 3003/38760 = 0.077; C(13,6)/38760 = 0.044
        (100, 30, 0, 8),  # C(92,30)/C(100,30) = 0.0507; C(91,30)/C(100,30) = 0.0342
    ],
)
def test_bound_by_hand(count: int, drawn: int, failed: int, bound: int) -> None:
    assert upper_bound(count, drawn, failed) == bound


def test_bound_shrinks_with_the_sample_and_grows_with_failures_and_confidence() -> None:
    clean = [upper_bound(200, drawn, 0) for drawn in range(0, 201, 10)]
    assert clean == sorted(clean, reverse=True)
    failures = [upper_bound(200, 60, failed) for failed in range(61)]
    assert failures == sorted(failures)
    assert upper_bound(200, 60, 0, confidence=0.99) > upper_bound(200, 60, 0)


def test_probability_of_exactly_one_minus_confidence_is_outside() -> None:
    """One of two drawn, clean: with one defective the chance of that is exactly a half."""
    assert upper_bound(2, 1, 0, confidence=0.5) == 0
    assert upper_bound(2, 1, 0, confidence=0.51) == 1


@pytest.mark.parametrize(("count", "drawn", "failed"), [(10, 11, 0), (10, 3, 4), (10, 3, -1)])
def test_impossible_sample_is_refused(count: int, drawn: int, failed: int) -> None:
    with pytest.raises(BadSample):
        upper_bound(count, drawn, failed)
