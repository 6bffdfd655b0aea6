"""A batch: labels that are annotated, checked, audited and decided together."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from rounds.labels.model import Stage


class BatchState(StrEnum):
    """Where a batch stands; a rejected batch is checked again whole and may be audited once more."""

    OPEN = "open"
    ANNOTATING = "annotating"
    AUDITING = "auditing"
    DECIDING = "deciding"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class IllegalBatchMove(Exception):
    """The batch is not in the state that this step starts from."""


MOVES: Mapping[BatchState, tuple[BatchState, ...]] = {
    BatchState.OPEN: (BatchState.ANNOTATING,),
    BatchState.ANNOTATING: (BatchState.AUDITING,),
    BatchState.AUDITING: (BatchState.DECIDING,),
    BatchState.DECIDING: (BatchState.ACCEPTED, BatchState.REJECTED),
    BatchState.REJECTED: (BatchState.AUDITING,),
    BatchState.ACCEPTED: (),
}


def all_passed(stages: Counter[Stage]) -> bool:
    """Tell whether nothing is left to annotate, check or revise; withdrawn labels do not count, even if all are."""
    live = {stage: count for stage, count in stages.items() if count and stage is not Stage.WITHDRAWN}
    return set(live) <= {Stage.PASSED}


def next_state(state: BatchState, stages: Counter[Stage], audits_left: int) -> BatchState:
    """Return the state that the labels and the audit have earned; a decision is a person's and never taken here."""
    if state in (BatchState.ANNOTATING, BatchState.REJECTED) and all_passed(stages):
        return BatchState.AUDITING
    if state is BatchState.AUDITING and all_passed(stages) and audits_left == 0:
        return BatchState.DECIDING
    return state
