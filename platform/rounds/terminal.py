"""What every command prints: one JSON document, or a table for people; progress only on a terminal."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

_TITLE = 76  # columns that a table leaves its title
_WIDEST = 400  # columns of a table in a file

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)


def emit(data: Any, as_json: bool, text: str | Table) -> None:
    """Print `data` as one JSON document, or `text` for a person."""
    if as_json:
        click.echo(json.dumps(data, default=str, indent=2 if sys.stdout.isatty() else None))
    else:
        _console(text).print(text, soft_wrap=isinstance(text, str))


def _console(text: str | Table) -> Console:
    """Return where `text` is printed: a terminal has its width, a file or a pipe takes a table whole."""
    made = Console()
    if made.is_terminal or isinstance(text, str):
        return made
    return Console(
        width=max(made.width, Measurement.get(made, made.options.update(max_width=_WIDEST), text).maximum)
    )


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table | str:
    """Lay out rows that share their keys; an empty list becomes a sentence."""
    if not rows:
        return f"{title}: none"
    made = Table(title=title, title_justify="left", min_width=min(len(title), _TITLE))
    for name in rows[0]:
        made.add_column(
            name.replace("_", " "), justify="right" if _numeric(rows, name) else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(shown(value) for value in row.values()))
    return made


def shown(value: Any) -> str:
    """Write a value as a person reads it: three decimals, yes or no, a dash for what is unknown."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    return str(value)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on stderr while it is a terminal, and nothing otherwise."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield bar


def _numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row[name], int | float | None) for row in rows)
