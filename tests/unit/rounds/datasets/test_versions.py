"""Dataset versions: a test set that never changes, patients on one side only, and growth that keeps its order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from rounds.datasets.model import Accepted, Member, NotEnough, Split, allocate, assemble, stage_members

DIAGNOSES = ("covid", "other", "healthy")


def accepted(first: int, last: int, per_patient: int = 1) -> list[Accepted]:
    """Make labels first..last; `per_patient` neighbours share a patient, patients take diagnoses in turn."""
    return [
        Accepted(n, 1000 + n, f"P{n // per_patient:04d}", DIAGNOSES[n // per_patient % 3])
        for n in range(first, last + 1)
    ]


@dataclass
class History:
    """Freezes versions one after the other, as the service does."""

    splits: dict[str, Split] = field(default_factory=dict)
    versions: list[tuple[Member, ...]] = field(default_factory=list)

    def freeze(
        self, labels: Sequence[Accepted], withdrawn: frozenset[int] = frozenset()
    ) -> tuple[Member, ...]:
        standing = [a for a in labels if a.label_id not in withdrawn]
        self.splits = allocate({a.patient: a.diagnosis for a in standing}, self.splits, 0.2, 0.1)
        before = self.versions[-1] if self.versions else ()
        self.versions.append(assemble(standing, self.splits, before, withdrawn))
        return self.versions[-1]


def of_split(members: Sequence[Member], split: Split) -> list[tuple[int, int]]:
    return sorted((m.label_id, m.revision_id) for m in members if m.split is split)


def growth(members: Sequence[Member]) -> list[int]:
    return [
        m.label_id
        for m in sorted(members, key=lambda m: m.position)
        if m.split is not Split.TEST  # test has position -1
    ]


def test_first_split_has_the_shares_within_every_diagnosis() -> None:
    patients = {f"P{n}": DIAGNOSES[n % 2] for n in range(200)}
    splits = allocate(patients, {}, test_share=0.2, val_share=0.1)
    counts = Counter((patients[patient], split) for patient, split in splits.items())
    for diagnosis in DIAGNOSES[:2]:
        assert [counts[diagnosis, split] for split in (Split.TEST, Split.VAL, Split.TRAIN)] == [20, 8, 72]


def test_split_depends_on_the_pseudonym_not_on_the_order_of_arrival() -> None:
    patients = {f"P{n}": "covid" for n in range(50)}
    assert allocate(patients, {}, 0.2, 0.1) == allocate(dict(reversed(patients.items())), {}, 0.2, 0.1)


def test_known_splits_stay_and_nobody_joins_the_test_set_later() -> None:
    first = allocate({f"P{n}": "covid" for n in range(50)}, {}, 0.2, 0.1)
    later = allocate({f"P{n}": "covid" for n in range(500)}, first, 0.2, 0.1)
    assert {patient: later[patient] for patient in first} == first
    joined = Counter(split for patient, split in later.items() if patient not in first)
    assert joined == {Split.VAL: 45, Split.TRAIN: 405}


def test_test_set_is_drawn_as_soon_as_there_is_none() -> None:
    none_yet = {"A": Split.TRAIN}
    splits = allocate({f"P{n}": "other" for n in range(10)}, none_yet, 0.2, 0.1)
    assert Counter(splits.values())[Split.TEST] == 2
    assert splits["A"] is Split.TRAIN


def test_test_set_of_the_first_version_is_that_of_all() -> None:
    history = History()
    for last in (60, 61, 120, 300):
        history.freeze(accepted(1, last))
    first = of_split(history.versions[0], Split.TEST)
    assert len(first) == 12
    assert all(of_split(version, Split.TEST) == first for version in history.versions)


def test_test_members_keep_the_revision_they_were_frozen_with() -> None:
    history = History()
    first = history.freeze(accepted(1, 60))
    redrawn = [Accepted(a.label_id, a.revision_id + 5000, a.patient, a.diagnosis) for a in accepted(1, 60)]
    second = history.freeze(redrawn)
    assert of_split(second, Split.TEST) == of_split(first, Split.TEST)
    assert all(m.revision_id > 5000 for m in second if m.split is not Split.TEST)


def test_later_case_of_a_test_patient_joins_no_split() -> None:
    history = History()
    first = history.freeze(accepted(1, 60))
    tested = next(m.patient for m in first if m.split is Split.TEST)
    late = Accepted(999, 1999, tested, "covid")
    assert 999 not in {m.label_id for m in history.freeze([*accepted(1, 60), late])}


def test_patient_is_never_in_two_splits() -> None:
    history = History()
    for last in (47, 90, 131, 222):
        members = history.freeze(accepted(1, last, per_patient=3))
        sides: dict[str, set[Split]] = {}
        for member in members:
            sides.setdefault(member.patient, set()).add(member.split)
        assert len(sides) > 10
        assert all(len(splits) == 1 for splits in sides.values())


def test_nobody_is_lost_or_doubled() -> None:
    history = History()
    for last in (50, 80):
        members = history.freeze(accepted(1, last))
        assert sorted(m.label_id for m in members) == list(range(1, last + 1))
        assert [m.position for m in members if m.split is not Split.TEST] == list(range(len(growth(members))))


def test_earlier_stage_is_the_same_cases_in_every_later_version() -> None:
    history = History()
    for last in (60, 100, 240):
        history.freeze(accepted(1, last))
    stage = len(growth(history.versions[0]))
    smallest = {m.label_id for m in stage_members(history.versions[0], stage)}
    for version in history.versions[1:]:
        assert {m.label_id for m in stage_members(version, stage)} == smallest
        assert growth(version)[:stage] == growth(history.versions[0])


def test_withdrawn_members_leave_both_sides_and_the_others_keep_their_order() -> None:
    history = History()
    first = history.freeze(accepted(1, 60))
    gone = frozenset({growth(first)[3], of_split(first, Split.TEST)[0][0]})
    second = history.freeze(accepted(1, 60), withdrawn=gone)
    assert not gone & {m.label_id for m in second}
    assert growth(second) == [label for label in growth(first) if label not in gone]
    assert of_split(second, Split.TEST) == of_split(first, Split.TEST)[1:]
    assert gone <= {m.label_id for m in first}  # the old version still names them


def test_every_stage_holds_the_diagnoses_in_proportion() -> None:
    members = History().freeze(accepted(1, 300))
    diagnosis = {a.label_id: a.diagnosis for a in accepted(1, 300)}
    for stage in (30, 60, 120):
        counts = Counter(diagnosis[label] for label in growth(members)[:stage])
        assert all(abs(counts[d] - stage / 3) <= 1 for d in DIAGNOSES)


def test_stage_counts_training_and_validation_cases_and_brings_the_whole_test_set() -> None:
    members = History().freeze(accepted(1, 100))
    taken = stage_members(members, 40)
    assert sum(m.split is not Split.TEST for m in taken) == 40
    assert sum(m.split is Split.VAL for m in taken) > 0
    assert of_split(taken, Split.TEST) == of_split(members, Split.TEST)


def test_stage_larger_than_the_version_is_refused_with_both_numbers() -> None:
    members = History().freeze(accepted(1, 100))
    there = len(growth(members))
    assert len(stage_members(members, there)) == len(members)
    with pytest.raises(NotEnough, match=f"needs {there + 1} cases .* has {there}"):
        stage_members(members, there + 1)
