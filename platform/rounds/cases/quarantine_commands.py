"""`rounds quarantine`: the operator's way to look at refused scans, release and discard them."""

import click

from rounds.cases import holding, vault
from rounds.cases import quarantine as service
from rounds.cases.holding import STATES, Quarantined
from rounds.db import connect
from rounds.orchestration import start_flow, wait_for
from rounds.settings import Settings, load_settings
from rounds.terminal import emit, json_option, progress, table
from rounds.trail.store import history

OPERATOR = "operator"
reason_option = click.option("--reason", required=True, help="Why, in a few words: the trail keeps it.")


@click.group()
def quarantine() -> None:
    """List, show, release and discard scans that were refused."""


@quarantine.command("list")
@click.option("--state", type=click.Choice(STATES), default="held", show_default=True)
@click.option("--before", type=int, help="Only scans with lower numbers: the next page.")
@json_option
def list_(state: str, before: int | None, as_json: bool) -> None:
    """List the scans in quarantine, newest first."""
    with connect(load_settings()) as conn:
        rows = [service.row_of(found) for found in holding.listing(conn, state, before)]
    emit(rows, as_json, table(f"Quarantine, {state}", rows))


@quarantine.command()
@click.argument("number", type=int)
@json_option
def show(number: int, as_json: bool) -> None:
    """Show why a scan was refused, its geometry, its history and, here alone, the original files."""
    settings = load_settings()
    with connect(settings) as conn:
        found = holding.get(conn, number)
        obstacle = service.obstacle_to_release(conn, found)
        events = history(conn, "scan", number)
    kept = vault.look(settings.home, number)
    data = {
        **service.row_of(found),
        "sentence": service.sentence(found.reason),
        "geometry": dict(found.facts),
        "release": obstacle or ("possible" if kept and kept.copies else "possible once ingested again"),
        "decision": found.decision,
        "decided_by": found.decided_by,
        "history": [f"{e.at:%Y-%m-%d %H:%M} {e.actor}: {e.action} {e.reason}".strip() for e in events],
        "original_files": list(kept.names) if kept else [],
    }
    listed = {key: "\n".join(value) if isinstance(value, list) else value for key, value in data.items()}
    emit(
        data,
        as_json,
        table(f"Scan {number}", [{"what": k.replace("_", " "), "value": v} for k, v in listed.items()]),
    )


@quarantine.command()
@click.argument("number", type=int)
@reason_option
@json_option
def release(number: int, reason: str, as_json: bool) -> None:
    """Let a scan go on over its refusal; every other test is made as ever."""
    settings = load_settings()
    with connect(settings) as conn, conn.transaction():
        service.release(conn, number, OPERATOR, reason)
    found = _carry_out(settings, number)
    row = service.row_of(found)
    title = (
        f"Scan {number} is case {found.case_id}"
        if found.case_id
        else f"Scan {number}: {_told(settings, number)}"
    )
    emit({**row, "outcome": _told(settings, number)}, as_json, table(title, [row]))


@quarantine.command()
@click.argument("number", type=int)
@reason_option
@json_option
def discard(number: int, reason: str, as_json: bool) -> None:
    """Give a scan up: the private copy goes, and ingesting the same files again does not bring it back."""
    settings = load_settings()
    with connect(settings) as conn, conn.transaction():
        service.discard(conn, number, OPERATOR, reason)
    row = service.row_of(_carry_out(settings, number))
    emit(row, as_json, table("Discarded", [row]))


def _carry_out(settings: Settings, number: int) -> Quarantined:
    run = start_flow(settings, "quarantine", {"number": number})
    with progress() as bar:
        bar.add_task("carrying out", total=None)
        wait_for(settings, run)
    with connect(settings) as conn:
        return holding.get(conn, number)


def _told(settings: Settings, number: int) -> str:
    """Return what the trail says came of the last decision."""
    with connect(settings) as conn:
        return history(conn, "scan", number)[-1].reason
