"""The quarantine flow: carries out what a person decided about a quarantined scan."""

from prefect import flow, get_run_logger

from rounds.cases import holding, store, vault
from rounds.cases.holding import Quarantined
from rounds.cases.intake import ACTOR, take_in
from rounds.db import Connection, connect
from rounds.imaging.series import find_series
from rounds.settings import Settings, load_settings
from rounds_flows.ingest import IngestFailed, intake_for

LOCK = 4_726_003  # one run at a time carries out one decision


@flow(name="quarantine")
def quarantine(number: int) -> None:
    """Take a released scan in from its private copy, or remove what is kept of a discarded one."""
    settings = load_settings()
    with connect(settings) as conn:
        try:
            told = carry_out(settings, conn, number)
        except Exception as error:
            raise IngestFailed(f"scan {number}: {type(error).__module__}.{type(error).__name__}") from None
    get_run_logger().info("scan %d: %s", number, told)


def carry_out(settings: Settings, conn: Connection, number: int) -> str:
    """Carry out a decision unless that is done or being done; return what came of it."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s) AS ours", (LOCK, number)).fetchone()
    if row is None or not row["ours"]:
        return "being carried out already"
    try:
        found = holding.get(conn, number)
        if found.settled or found.state == "held":
            return "nothing to do"
        if found.state == "discarded":
            return _finish(settings, conn, number, "discarded")
        return _take_in(settings, conn, found)
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK, number))


def _take_in(settings: Settings, conn: Connection, found: Quarantined) -> str:
    kept = vault.look(settings.home, found.id)
    copies = kept.copies if kept else {}
    intake = intake_for(settings, conn, found.site, lambda path: copies.get(path, path.name))
    refused: list[str] = []
    if copies:
        for series in find_series(next(iter(copies)).parent).series:
            refused += [entry["reason"] for entry in take_in(intake, series).quarantined]
    case_id = _case_since(conn, found)
    if case_id is not None:
        return _finish(settings, conn, found.id, "became a case", case_id)
    if not copies:
        return _again(conn, found.id, "no private copy is left: ingest the files again, then release")
    others = [reason for reason in refused if reason != found.reason]
    if others:
        return _finish(settings, conn, found.id, f"refused again: {', '.join(others)}")
    return _again(conn, found.id, "refused for the same reason although it was set aside")


def _case_since(conn: Connection, found: Quarantined) -> int | None:
    """Return the case that the series became over this very release."""
    standing = store.known(conn, found.series)
    row = (
        standing
        and conn.execute(
            "SELECT FROM cases WHERE id = %s AND %s = ANY (released_over) AND created_at >= %s",
            (standing.case_id, found.reason, found.decided_at),
        ).fetchone()
    )
    return standing.case_id if standing and row is not None else None


def _finish(
    settings: Settings, conn: Connection, number: int, outcome: str, case_id: int | None = None
) -> str:
    """Forget what is kept and write down what came of it, in this order: a crash between repeats the first."""
    vault.forget(settings.home, number)
    with conn.transaction():
        holding.settle(conn, number, ACTOR, outcome, case_id)
    return outcome


def _again(conn: Connection, number: int, why: str) -> str:
    with conn.transaction():
        holding.hold_again(conn, number, ACTOR, why)
    return why
