"""The list of cases, and the cohort that they make."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rounds.cases import views
from rounds.cases.cohort import cohort
from rounds.cases.cohort_report import sections
from rounds.people.views import OVERSEERS, require_any
from rounds.web.identity import Conn, Reader
from rounds.web.pages import page

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
    )


@cohort_router.get("")
def shown(request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show the cohort's tables and figures."""
    require_any(reader, *OVERSEERS)
    return page(
        request, "cases/cohort.html", reader, count=views.count(conn), sections=sections(cohort(conn))
    )
