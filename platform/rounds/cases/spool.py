"""The operator's private folder for one ingest: what to read, and what came of it, with original file names.

It lies under `<home>/spool`, readable by its owner only, because paths may tell who a patient is; the flow run is given
nothing but the folder's name.
"""

import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rounds.cases.model import Outcome
from rounds.settings import Settings

TICKET = re.compile(r"^[0-9a-f]{16}$")


class TicketUnknown(Exception):
    """No ingest was asked for under this ticket, or it was cleared away."""


@dataclass(frozen=True)
class Request:
    """What an operator asked to be ingested."""

    path: Path
    site: str
    manifest: str | None


def ask(settings: Settings, request: Request) -> str:
    """Write a request down; return its ticket."""
    ticket = secrets.token_hex(8)
    folder = _folder(settings, ticket)
    folder.mkdir(parents=True, mode=0o700)
    _write(folder / "request.json", {**asdict(request), "path": str(request.path)})
    return ticket


def request_of(settings: Settings, ticket: str) -> Request:
    """Read a request; raise TicketUnknown."""
    known = _read(_folder(settings, ticket) / "request.json")
    if known is None:
        raise TicketUnknown(f"there is no ingest {ticket}: run `rounds ingest` again")
    return Request(Path(known["path"]), known["site"], known["manifest"])


def announce(settings: Settings, ticket: str, total: int) -> None:
    """Say how many series there are to take in."""
    _write(_folder(settings, ticket) / "total.json", total)


def report(settings: Settings, ticket: str, index: int, outcome: Outcome) -> None:
    """Keep what became of one series; doing it again replaces it."""
    _write(_folder(settings, ticket) / f"outcome-{index:06d}.json", asdict(outcome))


def progress(settings: Settings, ticket: str) -> tuple[int, int | None]:
    """Return how many series are done, and of how many once that is known."""
    folder = _folder(settings, ticket)
    return len(list(folder.glob("outcome-*.json"))), _read(folder / "total.json")


def summary(settings: Settings, ticket: str) -> dict[str, Any]:
    """Gather the outcomes as `rounds ingest --json` prints them."""
    outcomes = [_read(path) for path in sorted(_folder(settings, ticket).glob("outcome-*.json"))]
    return {
        "accepted": [case for o in outcomes for case in o["accepted"]],
        "quarantined": [entry for o in outcomes for entry in o["quarantined"]],
        "unchanged": sum(o["unchanged"] for o in outcomes),
    }


def clear(settings: Settings, ticket: str) -> None:
    """Remove the folder, once its outcome was handed over."""
    shutil.rmtree(_folder(settings, ticket), ignore_errors=True)


def _folder(settings: Settings, ticket: str) -> Path:
    if not TICKET.match(ticket):
        raise TicketUnknown("this is no ticket of an ingest")
    return settings.home / "spool" / ticket


def _write(path: Path, data: Any) -> None:
    draft = path.with_suffix(".part")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(data, file)
    draft.replace(path)


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None
