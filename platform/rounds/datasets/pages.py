"""The list of dataset versions."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rounds.datasets import service, store
from rounds.people.views import OVERSEERS, require_any
from rounds.web.identity import Conn, Reader
from rounds.web.pages import page

router = APIRouter(prefix="/datasets", include_in_schema=False)


@router.get("")
def listing(request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show every version with its splits and the hash of its manifest, newest first."""
    require_any(reader, *OVERSEERS)
    found = [
        {**service.summary(conn, version), "at": version.created_at} for version in store.everything(conn)
    ]
    return page(request, "datasets/list.html", reader, versions=found[::-1])
