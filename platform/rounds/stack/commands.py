"""`rounds up`, `rounds down` and `rounds status`."""

from dataclasses import asdict
from typing import Any

import click
import psycopg
from rich.console import Console

from rounds.db import connect
from rounds.labels import store as labels
from rounds.settings import Settings, load_settings
from rounds.stack import lifecycle
from rounds.terminal import emit, json_option, table


@click.command()
@json_option
def up(as_json: bool) -> None:
    """Start every part that is not given and not up; wait until each answers."""
    told = start_all(load_settings())
    rows = [{"part": name, **part} for name, part in told["parts"].items()]
    emit(told, as_json, table("Up", rows))
    if not as_json:
        for part, login in told["logins"].items():
            password = f"password in {login['password_file']}"
            click.echo(f"log in to {part} as admin: {login['email']}, {password}")
        click.echo("next: rounds people add EMAIL --role annotator, then rounds ingest PATH --site NAME")


def start_all(settings: Settings) -> dict[str, Any]:
    """Bring the stack up, telling what happens on stderr when it is a terminal."""
    console = Console(stderr=True)

    def report(part: str, what: str) -> None:
        if console.is_terminal:
            console.print(f"  {part}: {what}", style="green" if what == "up" else "dim")

    return lifecycle.up(settings, report)


@click.command()
@json_option
def down(as_json: bool) -> None:
    """Stop exactly what `rounds up` started."""
    stopped: list[str] = []
    lifecycle.down(load_settings(), lambda part, _what: stopped.append(part))
    emit({"stopped": stopped}, as_json, f"stopped: {', '.join(stopped) or 'nothing was running'}")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show each part, its version and whether it answers, and where the labels stand."""
    settings = load_settings()
    parts = {name: asdict(part) for name, part in lifecycle.status(settings).items()}
    cases, stages = _counts(settings) if parts["database"]["up"] else (0, {})
    data = {"parts": parts, "cases": cases, "labels": stages}
    rows = [{"part": name, **part} for name, part in parts.items()]
    emit(data, as_json, table("Parts", rows))
    if not as_json:
        found = ", ".join(f"{count} {stage}" for stage, count in stages.items())
        click.echo(f"{cases} cases; labels: {found or 'none'}")


def _counts(settings: Settings) -> tuple[int, dict[str, int]]:
    try:
        with connect(settings) as conn:
            row = conn.execute("SELECT count(*) AS n FROM cases").fetchone()
            stages = {str(stage): count for stage, count in labels.stages(conn).items()}
    except psycopg.Error:
        return 0, {}
    return int(row["n"]) if row else 0, stages
