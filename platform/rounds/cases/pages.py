"""The list of cases, the series of a study with the choice between them, and the cohort that the cases make."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from rounds.cases import choosing, views
from rounds.cases.cohort import cohort
from rounds.cases.cohort_report import sections
from rounds.cases.model import CaseUnknown
from rounds.people.store import names
from rounds.people.views import OVERSEERS, STEWARDS, require_any
from rounds.trail.reason import MAX_REASON
from rounds.web.identity import Conn, Reader
from rounds.web.pages import go, page

router = APIRouter(prefix="/cases", include_in_schema=False)
cohort_router = APIRouter(prefix="/cohort", include_in_schema=False)


@router.get("")
def listing(request: Request, conn: Conn, reader: Reader, before: int | None = None) -> HTMLResponse:
    """Show the cases, newest first, a page at a time."""
    require_any(reader, *OVERSEERS)
    found = views.listing(conn, before)
    older = found[-1]["id"] if len(found) == views.PAGE else None
    return page(
        request,
        "cases/list.html",
        reader,
        cases=found,
        count=views.count(conn),
        older=older,
        held=views.held(conn),
        names=names(conn),
    )


@router.get("/{number}/series")
def series(number: int, request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show the series of a case's study side by side, and which of them is read."""
    require_any(reader, *OVERSEERS)
    found = views.study(conn, number)
    if not found:
        raise CaseUnknown(f"there is no case {number}")
    eligible = [one for one in found if one["replaced_by"] is None]
    return page(
        request,
        "cases/series.html",
        reader,
        number=number,
        series=found,
        read=next((one for one in eligible if one["chosen"]), None),
        choice=len(eligible) > 1,
        by_rule=choosing.by_rule(conn, number),
        events=views.choices(conn, [one["id"] for one in found]),
        names=names(conn),
        may_choose=bool(set(STEWARDS) & set(reader.roles)),
        longest=MAX_REASON,
    )


@router.post("/{number}/choose")
def choose(
    number: int,
    request: Request,
    conn: Conn,
    reader: Reader,
    why: Annotated[str, Form()] = "",
    instead_of: Annotated[int | None, Form()] = None,
) -> Response:
    """Make a case the one to read of its study."""
    require_any(reader, *STEWARDS)
    with conn.transaction():
        choosing.choose(conn, number, reader.actor, why, instead_of)
    return go(request, f"/cases/{number}/series")


@cohort_router.get("")
def shown(request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show the cohort's tables and figures."""
    require_any(reader, *OVERSEERS)
    return page(
        request, "cases/cohort.html", reader, count=views.count(conn), sections=sections(cohort(conn))
    )
