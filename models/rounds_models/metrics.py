"""How good a model is: Dice, area under the ROC curve with its interval, and an operating point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def dice(predicted: NDArray[np.generic], reference: NDArray[np.generic]) -> float:
    """Return the Dice overlap of two masks; two empty masks agree, so 1.0, and one empty mask gives 0.0."""
    first, second = predicted != 0, reference != 0
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(first & second)) / total


def auc(scores: ArrayLike, positive: ArrayLike) -> float | None:
    """Return the area under the ROC curve from ranks, ties counting half; None for a single class."""
    values, is_positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    n, m = int(is_positive.sum()), int((~is_positive).sum())
    if n == 0 or m == 0:
        return None
    ranks = stats.rankdata(values)
    return float((ranks[is_positive].sum() - n * (n + 1) / 2) / (n * m))


def auc_interval(
    scores: ArrayLike, positive: ArrayLike, seed: int = 0, draws: int = 2000
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of the AUC, drawn within each class, or None."""
    values, is_positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    first, second = values[is_positive], values[~is_positive]
    if len(first) == 0 or len(second) == 0:
        return None
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    rng = np.random.default_rng(seed)
    drawn_first = rng.multinomial(len(first), np.full(len(first), 1 / len(first)), size=draws)
    drawn_second = rng.multinomial(len(second), np.full(len(second), 1 / len(second)), size=draws)
    areas = np.einsum("bi,ij,bj->b", drawn_first, wins, drawn_second, optimize=True) / wins.size
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives: a case is called positive when its score is at or above it."""

    threshold: float
    sensitivity: float | None
    specificity: float | None


def at_threshold(scores: ArrayLike, positive: ArrayLike, threshold: float) -> OperatingPoint:
    """Return sensitivity and specificity at `threshold`; None for a class that is not there."""
    called, is_positive = np.asarray(scores, dtype=float) >= threshold, np.asarray(positive, dtype=bool)
    sensitivity = float(called[is_positive].mean()) if is_positive.any() else None
    specificity = float((~called[~is_positive]).mean()) if (~is_positive).any() else None
    return OperatingPoint(threshold, sensitivity, specificity)


def youden(scores: ArrayLike, positive: ArrayLike) -> float | None:
    """Return the threshold with the greatest sensitivity + specificity, half-way to the next lower score.

    Of several the one nearest to 0.5; None unless both classes are there.
    """
    values, is_positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    if not is_positive.any() or is_positive.all():
        return None
    distinct = np.unique(np.concatenate([values, [0.0, 1.0]]))
    candidates = (distinct[:-1] + distinct[1:]) / 2

    def worth(threshold: float) -> tuple[float, float]:
        point = at_threshold(values, is_positive, threshold)
        return (point.sensitivity or 0.0) + (point.specificity or 0.0), -abs(threshold - 0.5)

    return float(max(candidates, key=worth))
