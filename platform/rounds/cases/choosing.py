"""Which case of a study is the one to read: the best, until work on another has begun or a person has spoken."""

from dataclasses import dataclass

from rounds.cases.model import CaseUnknown
from rounds.db import Connection
from rounds.imaging.choice import Candidate, Kernel, best_of, why
from rounds.trail.reason import worded
from rounds.trail.store import record

BY_RULE = "flow:"


class NoChoice(Exception):
    """The case cannot be chosen, or another was meanwhile."""


@dataclass(frozen=True)
class Series:
    """A case of a study as the choice sees it; `begun` if somebody works on its labels or has."""

    case_id: int
    chosen: bool
    chosen_by: str | None
    begun: bool
    replaced: bool
    candidate: Candidate


def hold(conn: Connection, patient: str, study: str) -> None:
    """Lock a study, and the labels of its chosen case so that no batch takes them, until the transaction ends.

    To be called before anything is written to the trail, which everybody waits for: so nobody waits in a circle.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"study {patient} {study}",))
    conn.execute(
        """
        SELECT FROM labels l JOIN cases c ON c.id = l.case_id
        WHERE c.patient_id = %s AND c.study = %s AND c.chosen FOR UPDATE OF l
        """,
        (patient, study),
    )


def settle(conn: Connection, case_id: int, actor: str) -> None:
    """Choose anew among the cases of a new case's study, in the caller's transaction.

    A better case takes over only while no label of the chosen one has begun and no person chose it; otherwise the trail
    tells that it stays. A case whose study was not noted is left alone.
    """
    patient, study = _study_of(conn, case_id)
    if study is None:
        return
    found = _series(conn, patient, study)
    standing = next((one for one in found if one.chosen), None)
    eligible = [one for one in found if not one.replaced]
    best, reason = _best(eligible)
    if standing is None or standing.replaced:
        _choose(conn, standing, best, reason, actor)
    elif best.case_id == standing.case_id:
        if standing.chosen_by is None or standing.chosen_by.startswith(BY_RULE):
            conn.execute("UPDATE cases SET choice = %s WHERE id = %s", (reason, standing.case_id))
    elif obstacle := _obstacle(standing):
        if best.case_id == case_id:
            detail = {"better": best.case_id, "why": reason}
            record(conn, actor, "keep_choice", "case", standing.case_id, obstacle, detail)
    else:
        _choose(conn, standing, best, reason, actor)


def choose(
    conn: Connection, case_id: int, actor: str, because: str, instead_of: int | None = None
) -> int | None:
    """Make a case the one to read of its study, whatever the rule says, in the caller's transaction.

    Return the case that was chosen before, or None; labels of it that have begun go on. `instead_of` is the one that
    the person saw chosen. Raise CaseUnknown, ReasonMissing or NoChoice.
    """
    reason = worded(because)
    patient, study = _study_of(conn, case_id)
    if study is None:
        raise NoChoice(f"the study of case {case_id} is not known, so the case is read in any event")
    found = _series(conn, patient, study)
    wanted = next(one for one in found if one.case_id == case_id)
    if wanted.replaced:
        raise NoChoice(f"case {case_id} was replaced by a later one of the same series: choose that")
    standing = next((one for one in found if one.chosen), None)
    if instead_of is not None and standing is not None and standing.case_id != instead_of:
        raise NoChoice(f"case {standing.case_id} was chosen meanwhile: load the page again")
    _choose(conn, standing, wanted, reason, actor)
    return standing.case_id if standing is not None and standing.case_id != case_id else None


def by_rule(conn: Connection, case_id: int) -> tuple[int, str] | None:
    """Return which case of a case's study the rule would choose, and why; None where there is nothing to choose."""
    row = conn.execute("SELECT patient_id, study FROM cases WHERE id = %s", (case_id,)).fetchone()
    if row is None or row["study"] is None:
        return None
    eligible = [one for one in _series(conn, row["patient_id"], row["study"]) if not one.replaced]
    if not eligible:
        return None
    best, reason = _best(eligible)
    return best.case_id, reason


def _study_of(conn: Connection, case_id: int) -> tuple[str, str | None]:
    """Return patient and study of a case, the study held until the transaction ends."""
    row = conn.execute("SELECT patient_id, study FROM cases WHERE id = %s", (case_id,)).fetchone()
    if row is None:
        raise CaseUnknown(f"there is no case {case_id}: see `rounds cases`")
    if row["study"] is not None:
        hold(conn, row["patient_id"], row["study"])
    return row["patient_id"], row["study"]


def _series(conn: Connection, patient: str, study: str) -> list[Series]:
    rows = conn.execute(
        """
        SELECT c.id, c.series_key, c.source_slices, c.source_spacing[1] AS step, c.sharpness, c.chosen, c.chosen_by,
               EXISTS (SELECT FROM labels WHERE case_id = c.id AND stage NOT IN ('ready', 'withdrawn')) AS begun,
               EXISTS (SELECT FROM cases r WHERE c.id = ANY (r.replaces)) AS replaced
        FROM cases c WHERE c.patient_id = %s AND c.study = %s ORDER BY c.id
        """,
        (patient, study),
    ).fetchall()
    return [
        Series(
            int(row["id"]),
            row["chosen"],
            row["chosen_by"],
            row["begun"],
            row["replaced"],
            Candidate(
                row["series_key"],
                row["source_slices"] * row["step"],
                Kernel[row["sharpness"].upper()],
                row["step"],
                row["source_slices"],
            ),
        )
        for row in rows
    ]


def _best(found: list[Series]) -> tuple[Series, str]:
    best = best_of([one.candidate for one in found])
    others = [one.candidate for one in found if one.candidate is not best]
    return next(one for one in found if one.candidate is best), why(best, others)


def _obstacle(standing: Series) -> str:
    """Say why a better case may not take over, or nothing."""
    if standing.chosen_by is not None and not standing.chosen_by.startswith(BY_RULE):
        return "a person chose this case"
    return "its labels have begun" if standing.begun else ""


def _choose(conn: Connection, before: Series | None, now: Series, reason: str, actor: str) -> None:
    """Write a choice down; the trail tells of it unless it is the rule's for the first case of a study."""
    other = before if before is not None and before.case_id != now.case_id else None
    if other is not None:
        conn.execute(
            "UPDATE cases SET chosen = false, choice = '', chosen_by = NULL WHERE id = %s", (other.case_id,)
        )
    conn.execute(
        "UPDATE cases SET chosen = true, choice = %s, chosen_by = %s WHERE id = %s",
        (reason, actor, now.case_id),
    )
    if before is not None or not actor.startswith(BY_RULE):
        detail = {"instead_of": other.case_id} if other is not None else None
        record(conn, actor, "choose", "case", now.case_id, reason, detail)
