"""`rounds people`: who plays which part."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from rounds.db import connect
from rounds.labelstudio.client import Client
from rounds.labelstudio.people import ensure_account
from rounds.people import store
from rounds.people.model import NotAllowed, Role
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, table


@click.group()
def people() -> None:
    """Add and list people."""


@people.command()
@click.argument("email")
@click.option("--name", help="Full name; the address when not given.")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice([str(role) for role in Role])
)
@click.option("--password", help="At least 8 characters; one is made when not given.")
@json_option
def add(email: str, name: str | None, roles: Sequence[str], password: str | None, as_json: bool) -> None:
    """Add a person; an annotator gets an account in Label Studio with the same password."""
    settings = load_settings()
    password = password or secrets.token_urlsafe(9)
    if len(password) < 8:
        raise click.BadParameter("a password has at least 8 characters", param_hint="--password")
    parts = [Role(role) for role in roles]
    with connect(settings) as conn:
        with conn.transaction():
            person = store.add(conn, "operator", email, name or email, parts, password)
        where = settings.service_url or ""
        note = ""
        if Role.ANNOTATOR in parts:
            client = Client.from_settings(settings)
            account = ensure_account(client, person.email, password)
            client.close()
            store.link_labelstudio(conn, person.id, account.user_id)
            where = settings.require("labelstudio_url")
            if account.password is None:
                note = "the Label Studio account was there already and keeps its own password"
    row: dict[str, Any] = {
        "email": person.email,
        "roles": list(roles),
        "password": password,
        "log_in_at": where,
    }
    emit({**row, "note": note}, as_json, table("Added (the password is not shown again)", [row]))
    if note and not as_json:
        click.echo(note)


@people.command("list")
@click.option("--role", type=click.Choice([str(role) for role in Role]))
@json_option
def list_(role: str | None, as_json: bool) -> None:
    """List the active people."""
    with connect(load_settings()) as conn:
        found = store.everyone(conn, Role(role) if role else None)
    rows = [{"person": p.id, "email": p.email, "name": p.name, "roles": ", ".join(p.roles)} for p in found]
    emit(rows, as_json, table("People", rows))


@people.command()
@click.argument("email")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@json_option
def token(email: str, days: int, as_json: bool) -> None:
    """Print a token with which a machine that has the role sender, and no other, stores scans over HTTP."""
    with connect(load_settings()) as conn, conn.transaction():
        person = store.by_email(conn, email)
        if person.roles != (Role.SENDER,):
            raise NotAllowed("only an account with the role sender alone may have a lasting token")
        made = store.issue_token(conn, "operator", person, timedelta(days=days))
    row = {"email": person.email, "days": days, "token": made}
    emit(row, as_json, table("Token (it is not shown again)", [row]))
