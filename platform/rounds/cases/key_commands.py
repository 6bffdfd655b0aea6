"""`rounds key`: which keys pseudonymise, and putting a new one in use. No key is ever shown, only what it is called."""

from dataclasses import asdict

import click

from rounds.cases import holding, keys
from rounds.cases.secret import key_ring
from rounds.db import Connection, connect
from rounds.settings import Settings, load_settings
from rounds.terminal import emit, json_option, table

OPERATOR = "operator"


@click.group()
def key() -> None:
    """Show which keys pseudonymise, and rotate them."""


@key.command()
@json_option
def status(as_json: bool) -> None:
    """List the keys by id, with the cases and patients that each made."""
    settings = load_settings()
    with connect(settings) as conn:
        rows = [asdict(one) for one in keys.uses(conn, key_ring(settings))]
    emit(rows, as_json, table("Pseudonym keys", rows))


@key.command()
@click.option("--forget", is_flag=True, help="Destroy the old keys: known patients become strangers.")
@click.option("--yes", is_flag=True, help="Do not ask before old keys are destroyed.")
@json_option
def rotate(forget: bool, yes: bool, as_json: bool) -> None:
    """Put a new key in use for everybody who is new; known patients stay known under the old ones."""
    settings = load_settings()
    with connect(settings) as conn:
        if forget:
            click.echo(_warning(settings, conn), err=True)
            if not yes:
                click.confirm("Destroy the old keys?", abort=True, err=True)
        keys.rotate(settings, conn, OPERATOR, forget)
        rows = [asdict(one) for one in keys.uses(conn, key_ring(settings))]
    emit(rows, as_json, table("A new key is in use: back its file up now", rows))


def _warning(settings: Settings, conn: Connection) -> str:
    used = keys.uses(conn, key_ring(settings))
    cases, patients = sum(one.cases for one in used), sum(one.patients for one in used)
    held = holding.counts(conn)["held"]
    return (
        f"{patients} patients with {cases} cases keep their pseudonyms, but cannot be recognised by their ids: a "
        "further scan of such a patient becomes a stranger's, possibly on the other side of a split, a series sent "
        f"again becomes a second case, and the {held} scans in quarantine must be sent again before they can be "
        "released. Copies of the key file in backups still undo the old pseudonyms: destroy them too."
    )
