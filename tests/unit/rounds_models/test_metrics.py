"""Dice, AUC, its interval and the operating point, against cases worked out by hand."""

import numpy as np
import pytest

from rounds_models.metrics import at_threshold, auc, auc_interval, dice, youden


def test_dice_of_overlapping_masks() -> None:
    first, second = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    first[0, 0, :3] = 1
    second[0, 0, 1:3] = 1
    second[1, 1, 1:3] = 2
    assert dice(first, second) == pytest.approx(2 * 2 / (3 + 4))
    assert dice(first, first) == 1.0
    assert dice(first, np.roll(first, 1, axis=0)) == 0.0


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    empty, one = np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)
    one[0, 0, 0] = 1
    assert dice(empty, empty) == 1.0
    assert dice(empty, one) == 0.0
    assert dice(one, empty) == 0.0


@pytest.mark.parametrize(
    ("positive_scores", "negative_scores", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], 1.0),
        ([0.1, 0.2], [0.9, 0.8], 0.0),
        ([0.5, 0.5], [0.5, 0.5, 0.5], 0.5),
        # pairs: 0.8 beats 0.4, 0.6 and 0.2; 0.4 ties 0.4, loses to 0.6, beats 0.2: 4.5 of 6
        ([0.8, 0.4], [0.4, 0.6, 0.2], 4.5 / 6),
        # 0.7 ties 0.7 twice and beats 0.1; 0.3 loses twice and beats 0.1; 0.7 again: 2 + 1 + 2 of 9
        ([0.7, 0.3, 0.7], [0.7, 0.7, 0.1], 5 / 9),
    ],
)
def test_auc_counts_ties_half(
    positive_scores: list[float], negative_scores: list[float], expected: float
) -> None:
    scores = positive_scores + negative_scores
    positive = [True] * len(positive_scores) + [False] * len(negative_scores)
    assert auc(scores, positive) == pytest.approx(expected)
    assert auc(scores[::-1], positive[::-1]) == pytest.approx(expected)


def test_auc_needs_both_classes() -> None:
    assert auc([0.1, 0.9], [True, True]) is None
    assert auc([], []) is None
    assert auc_interval([0.1, 0.9], [False, False]) is None


def test_interval_holds_the_area_and_narrows_with_cases() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for size in (20, 400):
        positive = np.arange(size) % 2 == 0
        scores = rng.normal(size=size) + positive
        area, interval = auc(scores, positive), auc_interval(scores, positive)
        assert area is not None
        assert interval is not None
        assert 0 <= interval[0] < area < interval[1] <= 1
        assert interval == auc_interval(scores, positive)
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0] / 2


def test_interval_has_the_width_of_theory() -> None:
    # With every score tied but one pair the bootstrap of (1, 0.5) is known: P(all draws tied) is certain here.
    assert auc_interval([0.5, 0.5, 0.5], [True, True, False]) == (0.5, 0.5)
    # Two positives, one wins and one loses: the area drawn is 0, 0.5 or 1 with 1/4, 1/2, 1/4.
    assert auc_interval([0.9, 0.1, 0.5], [True, True, False]) == (0.0, 1.0)


def test_sensitivity_and_specificity_count_the_threshold_as_positive() -> None:
    point = at_threshold([0.5, 0.49, 0.7, 0.2], [True, True, False, False], 0.5)
    assert (point.sensitivity, point.specificity) == (0.5, 0.5)
    assert at_threshold([0.5], [True], 0.5).specificity is None
    assert at_threshold([0.5], [False], 0.5).sensitivity is None


def test_youden_parts_the_classes_half_way() -> None:
    assert youden([0.9, 0.7, 0.3, 0.1], [True, True, False, False]) == pytest.approx(0.5)
    assert youden([0.9, 0.8, 0.7, 0.1], [True, True, False, False]) == pytest.approx(0.75)
    assert youden([0.9, 0.8], [True, True]) is None


def test_youden_on_scores_that_are_all_alike_stays_in_range() -> None:
    threshold = youden([1.0, 1.0], [True, False])
    assert threshold is not None
    assert 0 < threshold < 1
