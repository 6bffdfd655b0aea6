"""How accepted labels become a dataset version: patient-level splits and a test set that never changes."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Split(StrEnum):
    """What a patient's cases are used for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class NotEnough(Exception):
    """Too few accepted labels for what is asked."""


@dataclass(frozen=True)
class Accepted:
    """An accepted label as the freeze sees it."""

    label_id: int
    revision_id: int
    patient: str
    diagnosis: str


@dataclass(frozen=True)
class Member:
    """One label of a dataset version; `position` is its place in the staged growth (0-based, test is -1)."""

    label_id: int
    revision_id: int
    patient: str
    split: Split
    position: int


def allocate(
    patients: Mapping[str, str], known: Mapping[str, Split], test_share: float, val_share: float
) -> dict[str, Split]:
    """Give every patient without a split one, stratified by diagnosis; `patients` maps pseudonym to diagnosis.

    The test set is drawn only while there is none yet: later patients train and validate, so that the test set
    of the first version is the test set of all. Within a diagnosis, patients are ranked by SHA-256 of their pseudonym.
    """
    first = Split.TEST not in known.values()
    strata: dict[str, list[str]] = defaultdict(list)
    for patient in sorted((p for p in patients if p not in known), key=_rank):
        strata[patients[patient]].append(patient)
    splits = dict(known)
    for members in strata.values():
        test = round(test_share * len(members)) if first else 0
        val = math.floor(val_share * (len(members) - test) + 0.5)
        for index, patient in enumerate(members):
            splits[patient] = Split.TEST if index < test else Split.VAL if index < test + val else Split.TRAIN
    return splits


def assemble(
    accepted: Sequence[Accepted],
    splits: Mapping[str, Split],
    before: Sequence[Member],
    withdrawn: frozenset[int],
) -> tuple[Member, ...]:
    """Return the members of the next version.

    `before` is the version before it: its test members stay as they are, revision included, unless withdrawn; its
    other members keep their order, so that a stage of N cases is the same N cases in every version; new ones follow,
    diagnoses interleaved in proportion.
    """
    frozen = tuple(m for m in before if m.split is Split.TEST and m.label_id not in withdrawn)
    standing = {a.label_id: a for a in accepted}
    if not before:
        frozen = tuple(
            Member(a.label_id, a.revision_id, a.patient, Split.TEST, -1)
            for a in accepted
            if splits[a.patient] is Split.TEST
        )
    kept = [standing[m.label_id] for m in before if m.split is not Split.TEST and m.label_id in standing]
    held = {a.label_id for a in kept}
    new = [a for a in accepted if a.label_id not in held and splits[a.patient] is not Split.TEST]
    grown = kept + _interleave(new)
    return frozen + tuple(
        Member(a.label_id, a.revision_id, a.patient, splits[a.patient], position)
        for position, a in enumerate(grown)
    )


def stage_members(members: Sequence[Member], stage: int) -> tuple[Member, ...]:
    """Return the test members and the first `stage` of the others; raise NotEnough when there are fewer."""
    grown = sorted((m for m in members if m.split is not Split.TEST), key=lambda m: m.position)
    if len(grown) < stage:
        raise NotEnough(f"the stage needs {stage} cases to train on, the dataset version has {len(grown)}")
    return tuple(m for m in members if m.split is Split.TEST) + tuple(grown[:stage])


def _interleave(accepted: Sequence[Accepted]) -> list[Accepted]:
    strata: dict[str, list[Accepted]] = defaultdict(list)
    for item in sorted(accepted, key=lambda a: _rank(a.patient)):
        strata[item.diagnosis].append(item)
    placed = [
        ((index + 0.5) / len(members), diagnosis, item)
        for diagnosis, members in sorted(strata.items())
        for index, item in enumerate(members)
    ]
    return [item for _, _, item in sorted(placed, key=lambda entry: entry[:2])]


def _rank(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()
