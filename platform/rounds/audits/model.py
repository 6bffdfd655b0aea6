"""Acceptance sampling: the sealed, seeded draw and what a clean sample is worth."""

import hashlib
import math
from collections.abc import Sequence


class BadSample(Exception):
    """A sample that cannot be: more drawn than there are, more failed than drawn."""


def commitment(seed: str) -> str:
    """Return the SHA-256 that is written down before the draw, so that nobody can choose the seed afterwards."""
    return hashlib.sha256(seed.encode()).hexdigest()


def sample_size(count: int, share: float) -> int:
    """Return how many of `count` labels are audited: the share, rounded up, at least one."""
    return min(count, max(1, math.ceil(round(share * count, 9)))) if count else 0


def draw(labels: Sequence[int], share: float, seed: str) -> tuple[int, ...]:
    """Return the drawn labels in ascending order; anyone who has the seed can repeat it.

    Labels are ranked by SHA-256 of "<seed>:<label>" and the first `sample_size` are taken, which is a simple
    random sample without replacement.
    """

    def rank(label: int) -> str:
        return hashlib.sha256(f"{seed}:{label}".encode()).hexdigest()

    return tuple(sorted(sorted(set(labels), key=rank)[: sample_size(len(set(labels)), share)]))


def tightened(share: float) -> float:
    """Return the share after a rejection: twice as much, everything at most (tightened inspection)."""
    return min(1.0, 2 * share)


def upper_bound(count: int, drawn: int, failed: int, confidence: float = 0.95) -> int:
    """Return the one-sided upper confidence bound on defective labels among `count`, after `failed` of `drawn`.

    It is the largest D for which seeing at most `failed` defectives in a hypergeometric sample still has a
    probability above 1 - confidence (exact, Clopper-Pearson style for a finite population).
    """
    if not 0 <= failed <= drawn <= count:
        raise BadSample(f"{failed} failed of {drawn} drawn of {count} is no sample")
    total = math.comb(count, drawn)
    alpha = 1 - confidence

    def at_most_failed(defective: int) -> float:
        ways = sum(
            math.comb(defective, k) * math.comb(count - defective, drawn - k)
            for k in range(min(failed, defective) + 1)
        )
        return ways / total

    low, high = failed, count - (drawn - failed)
    while low < high:
        middle = (low + high + 1) // 2
        if at_most_failed(middle) > alpha:
            low = middle
        else:
            high = middle - 1
    return low
