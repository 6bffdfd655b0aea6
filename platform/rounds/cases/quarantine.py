"""What people do to quarantined scans: look, release, discard; and carrying out what they decided."""

from collections.abc import Sequence
from typing import Any

from rounds.cases import holding, store
from rounds.cases.holding import Quarantined
from rounds.cases.waivers import releasable
from rounds.db import Connection
from rounds.imaging.refusal import Reason
from rounds.labels import service as labels
from rounds.labels import store as label_store
from rounds.labels.model import Stage
from rounds.trail.reason import worded
from rounds.trail.store import record


class NotReleasable(Exception):
    """The scan cannot be released, whatever the reason given."""


def release(conn: Connection, number: int, actor: str, why: str) -> Quarantined:
    """Let a held scan go on over its refusal, in the caller's transaction; a flow carries it out.

    Raise NotReleasable, ReasonMissing, UnknownScan or AlreadyDecided.
    """
    found = holding.get(conn, number)
    obstacle = obstacle_to_release(conn, found) if found.state == "held" else ""
    if obstacle:
        raise NotReleasable(f"{obstacle} {sentence(found.reason)}")
    return holding.decide(conn, number, "released", actor, worded(why))


def discard(conn: Connection, number: int, actor: str, why: str) -> Quarantined:
    """Give a held scan up, in the caller's transaction; a flow removes what is kept of it."""
    return holding.decide(conn, number, "discarded", actor, worded(why))


def obstacle_to_release(conn: Connection, found: Quarantined) -> str:
    """Say in one sentence why a scan can never be released as it is, or return an empty text."""
    if not releasable(found.reason):
        return "This refusal cannot be overridden, whatever the reason: a case made of these files would not be sound."
    standing = store.known(conn, found.series)
    if standing is not None and found.reason != Reason.MORE_SLICES_THAN_BEFORE:
        return f"The series is case {standing.case_id} without these files already: discard them."
    return ""


def sentence(reason: str) -> str:
    """Return what a reason code means and what to do about it."""
    return Reason(reason).sentence if reason in set(Reason) else reason.replace("_", " ")


def let_in(conn: Connection, case_id: int, over: Sequence[str], replaced: Sequence[int], actor: str) -> None:
    """Tell the trail over which refusals a case was let in; withdraw the labels of the cases it replaces."""
    if not over:
        return
    record(conn, actor, "let_in", "case", case_id, ", ".join(over), {"replaces": list(replaced)})
    rows = conn.execute("SELECT id FROM labels WHERE case_id = ANY (%s) ORDER BY id", (list(replaced),))
    for row in rows.fetchall():
        if label_store.get(conn, row["id"]).stage is not Stage.WITHDRAWN:
            labels.withdraw(conn, row["id"], actor, f"case {case_id} of the same series has more slices")


def row_of(found: Quarantined) -> dict[str, Any]:
    """Return a scan as lists show it."""
    return {
        "quarantine": found.id,
        "site": found.site,
        "reason": found.reason,
        "detail": found.detail,
        "files": found.file_count,
        "state": found.state,
        "case": found.case_id,
        "since": f"{found.created_at:%Y-%m-%d %H:%M}",
    }
