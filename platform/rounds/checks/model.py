"""Back-to-back checking: when two blind verdicts decide, and how far two checkers agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rounds.labels.model import Action

CHECKERS = 2


class Verdict(StrEnum):
    """What a checker or a senior says of a revision."""

    PASS = "pass"  # noqa: S105 (a verdict, no password)
    FAIL = "fail"


class Reason(StrEnum):
    """Why a revision failed (closed list)."""

    MISSED_LESION = "missed_lesion"
    FALSE_LESION = "false_lesion"
    BOUNDARY = "boundary"
    WRONG_LABEL = "wrong_label"
    IMAGE_QUALITY = "image_quality"
    OTHER = "other"


class BadVerdict(Exception):
    """A verdict without what it needs: a failure needs a reason, `other` a note."""


@dataclass(frozen=True)
class Finding:
    """A verdict with its coded reasons, the slices that show them (0 = most inferior) and a note."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    slices: tuple[int, ...] = ()
    note: str = ""


def validate(finding: Finding, slice_count: int) -> None:
    """Raise BadVerdict unless the finding is complete and its slices exist."""
    if finding.verdict is Verdict.FAIL and not finding.reasons:
        raise BadVerdict("a failed verdict needs at least one reason: " + ", ".join(Reason))
    if finding.verdict is Verdict.PASS and finding.reasons:
        raise BadVerdict("a passed verdict has no reasons: remove them, or fail the revision")
    if Reason.OTHER in finding.reasons and not finding.note.strip():
        raise BadVerdict("the reason 'other' needs a note that says what is wrong")
    outside = [index for index in finding.slices if not 0 <= index < slice_count]
    if outside:
        raise BadVerdict(f"slice {outside[0]} does not exist: this case has slices 0 to {slice_count - 1}")


def outcome(verdicts: Sequence[Verdict]) -> Action | None:
    """Return what the verdicts of one round decide, or None while one is missing."""
    if len(verdicts) < CHECKERS:
        return None
    return Action.PASS if all(verdict is Verdict.PASS for verdict in verdicts) else Action.FAIL


def kappa(pairs: Iterable[tuple[Verdict, Verdict]]) -> float | None:
    """Return Cohen's kappa between two checkers (Cohen 1960), or None when it is undefined.

    It is undefined without pairs, and when both gave one and the same verdict throughout.
    """
    rows = list(pairs)
    if not rows:
        return None
    n = len(rows)
    observed = sum(a is b for a, b in rows) / n
    first = sum(a is Verdict.PASS for a, _ in rows) / n
    second = sum(b is Verdict.PASS for _, b in rows) / n
    expected = first * second + (1 - first) * (1 - second)
    if expected == 1:
        return None
    return (observed - expected) / (1 - expected)
