"""Server-rendered pages: one Jinja environment over the templates of every noun."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from rounds.people.model import Person, Role
from rounds.people.views import STEWARDS, oversees

PACKAGE = Path(__file__).resolve().parents[1]
NOUNS = ("web", "people", "cases", "labels", "checks", "audits", "batches", "datasets", "releases")
REASONS = {
    "missed_lesion": "missed lesion",
    "false_lesion": "false lesion",
    "boundary": "inexact boundary",
    "wrong_label": "wrong label",
    "image_quality": "image quality",
    "other": "other (say what in the note)",
}


def page(
    request: Request, name: str, person: Person | None, status: int = 200, **context: Any
) -> HTMLResponse:
    """Render `<noun>/<file>.html` for a person (None: nobody is logged in)."""
    known = {"request": request, "person": person, "links": links(person), **context}
    return HTMLResponse(environment().get_template(name).render(known), status_code=status)


def links(person: Person | None) -> list[tuple[str, str]]:
    """Return the navigation that this person can use."""
    if person is None:
        return []
    found = [("/", "Home")]
    if oversees(person) or Role.CHECKER in person.roles:
        found.append(("/batches", "Batches"))
    if oversees(person):
        found += [
            ("/cases", "Cases"),
            ("/cohort", "Cohort"),
            ("/datasets", "Datasets"),
            ("/models", "Models"),
        ]
    if set(STEWARDS) & set(person.roles):
        found.append(("/quarantine", "Quarantine"))
    return found


def go(request: Request, path: str) -> Response:
    """Send the browser on after a form, whether htmx or the browser itself sent it."""
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, status_code=303)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the one environment; autoescape is on everywhere."""
    folders = {noun: FileSystemLoader(PACKAGE / noun / "templates") for noun in NOUNS}
    made = Environment(
        loader=PrefixLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters.update(percent=percent, figure=figure, moment=moment, spacing=spacing, plain=plain)
    made.globals["reason_names"] = REASONS
    return made


def percent(value: float | None) -> str:
    """Write a share, or a dash."""
    return "–" if value is None else f"{value:.0%}".replace("%", " %")


def figure(value: float | None, digits: int = 2) -> str:
    """Write a number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def moment(value: datetime) -> str:
    """Write a time to the minute, in UTC as the trail has it."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def spacing(value: list[float]) -> str:
    """Write a spacing (z, y, x) in mm."""
    return " × ".join(f"{side:.2f}".rstrip("0").rstrip(".") for side in value)


def plain(value: str) -> str:
    """Write a coded word as a plain one."""
    return value.replace("_", " ")
