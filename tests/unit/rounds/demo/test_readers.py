"""Simulated readers: about 80 % of labels pass at first, checkers agree as people do, revisions converge."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from rounds.demo import readers
from rounds.demo.outlines import grown, missed_pieces, strayed
from rounds.demo.phantoms import make_phantom
from rounds.imaging.masks import dice

Mask = npt.NDArray[np.uint8]
SPACING = (6.5, 5.0, 5.0)
LABELS = 300


@lru_cache(maxsize=1)
def truths() -> tuple[Mask, ...]:
    """Draw the truths of twenty cases in the demo's mix of diagnoses."""
    mix = ["covid"] * 9 + ["other"] * 7 + ["healthy"] * 4
    shape = (20, 64, 64)
    return tuple(make_phantom(seed, d, SPACING, shape).lesion for seed, d in enumerate(mix))  # type: ignore[arg-type]


def extensive() -> Mask:
    """Return the truth with the most lesion."""
    return max(truths(), key=lambda truth: int(truth.sum()))


@dataclass(frozen=True)
class Played:
    """The fate of a label: first verdicts, rounds until both passed, seconds of the first drawing."""

    first: tuple[bool, bool]
    rounds: int
    seconds: float
    reasons: tuple[str, ...]


def play(seed: int) -> Played:
    """Take one label through drawing, checking and revising."""
    truth, rng = truths()[seed % 20], np.random.default_rng(seed)
    drawn = readers.annotate(truth, None, rng, SPACING)
    mask, rounds = drawn.mask, 1
    verdicts = [readers.check(mask, truth, rng, SPACING) for _ in range(2)]
    first, reasons = (verdicts[0].passed, verdicts[1].passed), verdicts[0].reasons
    while not all(verdict.passed for verdict in verdicts) and rounds < 9:
        asked = {reason for verdict in verdicts for reason in verdict.reasons}
        mask, rounds = readers.revise(mask, truth, asked, rng, SPACING).mask, rounds + 1
        verdicts = [readers.check(mask, truth, rng, SPACING) for _ in range(2)]
    return Played(first, rounds, drawn.seconds, reasons)


@pytest.fixture(scope="module")
def played() -> list[Played]:
    return [play(seed) for seed in range(LABELS)]


def test_first_pass_rate_is_near_the_papers_80_percent(played: list[Played]) -> None:
    assert 0.70 <= np.mean([all(one.first) for one in played]) <= 0.90


def test_checkers_agree_well_but_not_always(played: list[Played]) -> None:
    a, b = np.array([one.first for one in played]).T
    agreed, chance = np.mean(a == b), a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert 0.6 <= (agreed - chance) / (1 - chance) <= 0.93


def test_revisions_pass_within_three_rounds(played: list[Played]) -> None:
    assert np.mean([one.rounds <= 3 for one in played]) >= 0.99
    assert max(one.rounds for one in played) <= 5


def test_missed_lesions_and_boundaries_are_the_usual_faults(played: list[Played]) -> None:
    said = [reason for one in played for reason in one.reasons]
    assert set(said) == {"missed_lesion", "false_lesion", "boundary"}
    assert said.count("missed_lesion") + said.count("boundary") > said.count("false_lesion")


def test_the_same_randomness_gives_the_same_reader() -> None:
    one, two = (readers.annotate(truths()[0], None, np.random.default_rng(7), SPACING) for _ in range(2))
    assert np.array_equal(one.mask, two.mask)
    assert one.seconds == two.seconds


def test_a_sound_drawing_is_within_one_tolerance_of_the_truth_and_not_the_truth_itself() -> None:
    truth = extensive()
    drawn = readers.annotate(truth, None, np.random.default_rng(7), SPACING, readers.Skill(defect=0))
    assert not strayed(drawn.mask > 0, truth > 0, SPACING).any()
    assert 0.75 < dice(drawn.mask, truth) < 1
    assert drawn.touched_slices == tuple(np.flatnonzero(drawn.mask.any(axis=(1, 2))))


def test_a_right_prelabel_is_kept_and_costs_little() -> None:
    truth, sound = extensive(), readers.Skill(defect=0)
    kept = readers.annotate(truth, truth, np.random.default_rng(7), SPACING, sound)
    alone = readers.annotate(truth, None, np.random.default_rng(7), SPACING, sound)
    assert np.array_equal(kept.mask, truth)
    assert kept.touched_slices == ()
    assert kept.seconds < alone.seconds / 3


def test_a_wrong_prelabel_is_mended_where_it_is_wrong_and_only_there() -> None:
    truth = extensive()
    wrong = truth.copy()
    busiest = int(truth.sum(axis=(1, 2)).argmax())
    wrong[busiest] = 0
    wrong[4, 2:8, 2:8] = 1
    drawn = readers.annotate(truth, wrong, np.random.default_rng(7), SPACING, readers.Skill(defect=0))
    assert drawn.touched_slices == (4, busiest)
    assert not drawn.mask[4, :12, :12].any()
    assert dice(drawn.mask[busiest], truth[busiest]) > 0.75


def test_checkers_name_the_fault_and_show_the_slice() -> None:
    truth, sure = extensive(), readers.Eye(notice=1, doubt=0)
    rng = np.random.default_rng(1)
    false = truth.copy()
    false[4, 2:9, 2:9] = 1
    assert readers.check(truth, truth, rng, SPACING, sure) == readers.Verdict(passed=True)
    found = readers.check(false, truth, rng, SPACING, sure)
    assert (found.passed, found.reasons, found.slices) == (False, ("false_lesion",), (4,))
    assert readers.check(np.zeros_like(truth), truth, rng, SPACING, sure).reasons == ("missed_lesion",)
    wide = grown(truth > 0, SPACING, 2).astype(np.uint8)
    assert readers.check(wide, truth, rng, SPACING, sure).reasons == ("boundary",)
    assert readers.check(truth * 2, truth, rng, SPACING, sure).reasons == ("wrong_label",)


@pytest.mark.parametrize("reason", ["missed_lesion", "false_lesion", "boundary", "wrong_label"])
def test_a_revision_mends_what_was_named_and_nothing_else(reason: str) -> None:
    truth, rng = extensive(), np.random.default_rng(2)
    mask = truth.copy()
    mask[4, 2:9, 2:9] = 1
    done = readers.revise(mask, truth, [reason], rng, SPACING).mask
    assert bool(done[4, 2:9, 2:9].any()) is (reason != "false_lesion")
    assert not missed_pieces(done > 0, truth > 0, SPACING).any()


def test_a_revision_draws_a_missed_lesion() -> None:
    truth = extensive()
    done = readers.revise(np.zeros_like(truth), truth, ["missed_lesion"], np.random.default_rng(2), SPACING)
    assert dice(done.mask, truth) > 0.75


def test_a_revision_corrects_label_values() -> None:
    truth = extensive()
    done = readers.revise(truth * 2, truth, ["wrong_label"], np.random.default_rng(2), SPACING)
    assert np.array_equal(done.mask, truth)


def test_a_senior_passes_what_both_checkers_passed() -> None:
    failed = 0
    for seed in range(40):
        truth, rng = truths()[seed % 20], np.random.default_rng(seed)
        drawn = readers.annotate(truth, None, rng, SPACING, readers.Skill(defect=0, invent=0))
        failed += not readers.audit(drawn.mask, truth, rng, SPACING).passed
    assert failed <= 1


def test_reasons_are_read_off_the_header_of_a_task() -> None:
    header = "Please revise: missed lesion (slice 12, 13): about 0.8 ml; boundary"
    assert readers.named(header) == ("missed_lesion", "boundary")
    assert readers.named("Lung lesions") == ()
