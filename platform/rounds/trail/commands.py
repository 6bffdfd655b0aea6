"""`rounds trail`: verify the chain and read what happened to a thing."""

from dataclasses import asdict

import click

from rounds.db import connect
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, table
from rounds.trail import store
from rounds.trail.model import verify as walk


@click.group()
def trail() -> None:
    """Verify and read the append-only trail."""


@trail.command()
@click.option("--head", help="A head hash kept elsewhere: it must still be in the chain.")
@json_option
def verify(head: str | None, as_json: bool) -> None:
    """Walk the hash chain from its start; exit non-zero at the first row that does not follow."""
    with connect(load_settings()) as conn:
        found = walk(store.rows(conn))
        cut = head is not None and not any(row.hash == head for row in store.rows(conn))
    intact = found.broken_at is None and not cut
    text = f"{found.rows} rows, chain intact, head {found.head}"
    if found.broken_at is not None:
        text = f"the chain breaks at row {found.broken_at}: it was edited, removed or inserted"
    elif cut:
        text = f"the chain of {found.rows} rows no longer has the head given: rows were cut off"
    emit({**asdict(found), "intact": intact}, as_json, text)
    if not intact:
        raise click.exceptions.Exit(1)


@trail.command()
@click.argument("subject", type=click.Choice(["label", "batch", "case", "person", "dataset", "model"]))
@click.argument("subject_id")
@json_option
def show(subject: str, subject_id: str, as_json: bool) -> None:
    """Show what happened to one thing, oldest first."""
    with connect(load_settings()) as conn:
        rows = [asdict(event) for event in store.history(conn, subject, subject_id)]
    emit(rows, as_json, table(f"{subject} {subject_id}", rows))
