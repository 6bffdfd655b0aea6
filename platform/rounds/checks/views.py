"""How a verdict comes in, as JSON or from a form, and how queues go out."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rounds.audits.service import QueuedAudit
from rounds.checks.model import BadVerdict, Finding, Reason, Verdict
from rounds.checks.service import QueuedCheck


class FindingBody(BaseModel):
    """A verdict; `revision` and `round` are what its author looked at, so that a newer one is never judged unseen."""

    model_config = ConfigDict(extra="forbid")
    verdict: Verdict
    reasons: list[Reason] = Field(default_factory=list, max_length=len(Reason))
    slices: list[int] = Field(default_factory=list, max_length=2000)
    note: str = Field(default="", max_length=2000)
    revision: int | None = None
    round: int | None = None

    def finding(self) -> Finding:
        """Return what the domain takes: reasons and slices once each, in order."""
        reasons = tuple(reason for reason in Reason if reason in self.reasons)
        return Finding(self.verdict, reasons, tuple(sorted(set(self.slices))), self.note.strip())


def read_form(
    verdict: str, reasons: Sequence[str], slices: str, note: str, revision: str, round_: str
) -> FindingBody:
    """Read a posted form; `slices` are indices joined by commas. Raise BadVerdict with what to do."""
    if not verdict:
        raise BadVerdict("choose pass or fail first")
    try:
        return FindingBody.model_validate(
            {
                "verdict": verdict,
                "reasons": list(reasons) if verdict == Verdict.FAIL else [],
                "slices": [part for part in slices.split(",") if part.strip()],
                "note": note,
                "revision": revision or None,
                "round": round_ or None,
            }
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise BadVerdict(
            f"the verdict cannot be read ({place}: {fault['msg']}): load the page again"
        ) from None


def queued(waiting: Sequence[QueuedCheck] | Sequence[QueuedAudit]) -> list[dict[str, Any]]:
    """Return a queue as JSON, in the queue's own words: label_id, batch_id, case_id, scheme."""
    return [asdict(one) for one in waiting]


def following(waiting: Sequence[QueuedCheck] | Sequence[QueuedAudit], after: int | None) -> int | None:
    """Return the label to show next: the first one behind `after`, else the first, None when nothing waits."""
    ids = [one.label_id for one in waiting]
    if after in ids:
        ids = ids[ids.index(after) + 1 :] + ids[: ids.index(after)]
    return ids[0] if ids else None
