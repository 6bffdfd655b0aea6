"""`rounds demo`: phantom scans once round the whole loop, or real ones up to the point where readers take over."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from rounds.batches import quality
from rounds.db import connect
from rounds.demo.cast import CAST, PASSWORD, Say, hire, operate
from rounds.settings import Settings, load_settings
from rounds.stack import lifecycle
from rounds.stack.commands import start_all
from rounds.terminal import emit, json_option, table

LINES = 14


@click.command()
@click.option(
    "--scans", type=click.Path(exists=True, path_type=Path), help="A folder of real scans to use instead."
)
@click.option("--site", default="Demo hospital", show_default=True, help="Where the real scans come from.")
@click.option("--keep/--no-keep", default=True, help="Leave the stack running afterwards.")
@json_option
def demo(scans: Path | None, site: str, keep: bool, as_json: bool) -> None:
    """Take scans once round the whole loop on the real parts."""
    from rounds.demo import show  # phantoms need SciPy, which no other command should wait for

    settings = load_settings()
    began = time.monotonic()
    try:
        with telling(began) as say:
            if scans is not None:
                settings = _begin(settings, say)
                batch, rows = begin_with(settings, scans, site, say), []
            else:
                with tempfile.TemporaryDirectory() as folder:
                    scenery = show.Scenery(show.SCRIPT, Path(folder), say)
                    settings = _begin(settings, say)
                    rows = show.run(settings, scenery, say)
        if scans is not None:
            click.echo(_where(settings), err=as_json)
            wait_for_readers(settings, batch)
        _finish(settings, rows, time.monotonic() - began, as_json)
    finally:
        if not keep:
            lifecycle.down(settings)


def _begin(settings: Settings, say: Say) -> Settings:
    say("starting the stack")
    start_all(settings)
    return load_settings()


def begin_with(settings: Settings, scans: Path, site: str, say: Say) -> int:
    """Take real scans in and put them before the demo's annotators; return the batch."""
    hire(settings.home, say)
    found = operate(settings.home, say, "ingest", str(scans), "--site", site)
    say(
        f"{len(found['accepted'])} accepted, {len(found['quarantined'])} quarantined, {found['unchanged']} known"
    )
    return int(operate(settings.home, say, "batch", "open")["batch"])


def wait_for_readers(settings: Settings, batch_id: int, poll: float = 5.0) -> None:
    """Show how a batch moves until it is accepted; interrupting it leaves everything as it is."""
    last = ""
    while True:
        with connect(settings) as conn:
            found = quality.summary(conn, batch_id)
        line = f"batch {batch_id} is {found['state']}: " + ", ".join(
            f"{n} {s}" for s, n in found["labels"].items()
        )
        if line != last:
            click.echo(line, err=True)
        if found["state"] == "accepted":
            return
        last = line
        time.sleep(poll)


@contextmanager
def telling(began: float) -> Iterator[Say]:
    """Tell what happens: the last lines, live, on a terminal; one line each elsewhere. Always on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: click.echo(_stamped(began, line), err=True)
        return
    lines: list[str] = []
    with Live(console=console, refresh_per_second=8) as live:

        def say(line: str) -> None:
            lines.append(_stamped(began, line))
            *past, now = lines[-LINES:]
            live.update(
                Group(*(Text(one, style="dim") for one in past), Spinner("dots", Text(now, style="bold")))
            )

        yield say


def _stamped(began: float, line: str) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes:2d}:{seconds:02d}  {line}"


def _finish(settings: Settings, rows: list[dict[str, Any]], seconds: float, as_json: bool) -> None:
    if as_json:
        pages = {"service": settings.service_url, "labelstudio": settings.labelstudio_url}
        logins = {actor.role: {"email": actor.email, "password": PASSWORD} for actor in CAST}
        click.echo(json.dumps({"stages": rows, "seconds": seconds, "pages": pages, "logins": logins}))
        return
    for title, names in TABLES.items() if rows else ():
        laid_out = table(title, [{heading: row[name] for name, heading in names.items()} for row in rows])
        emit(rows, False, laid_out)
    if rows:
        click.echo(
            f"{seconds / 60:.1f} minutes. Readers and their seconds are simulated; the models are trained."
        )
    click.echo(_where(settings))


TABLES: dict[str, dict[str, str]] = {
    "Quality of the labels": {
        "stage": "stage",
        "new_cases": "labels",
        "first_pass": "first pass",
        "kappa": "kappa",
        "audited": "audited",
        "audit_failed": "failed",
        "defective_at_most": "defective at most",
    },
    "Models on the frozen test set, and the seconds that a label took": {
        "stage": "stage",
        "cases": "cases",
        "dice": "Dice",
        "auc": "AUC",
        "sensitivity": "sens.",
        "specificity": "spec.",
        "prelabelled": "pre-label",
        "seconds_per_label": "s/label",
        "regions_kept": "kept",
    },
}


def _where(settings: Settings) -> str:
    roles: dict[str, str] = {}
    for actor in CAST:
        roles.setdefault(actor.role, actor.email)
    service, labelstudio = settings.service_url or "", settings.labelstudio_url or ""
    lines = ["Look at it:"]
    for role, email in roles.items():
        lines.append(f"  {role:<10} {labelstudio if role == 'annotator' else service:<24} {email}")
    lines += [
        f"  the password of everybody is {PASSWORD}",
        f"  flow runs  {(settings.prefect_api_url or '').removesuffix('/api')}",
        "`rounds status` shows the parts, `rounds down` stops them.",
    ]
    return "\n".join(lines)
