"""The models page: learning curve, versions, promote and roll back."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from rounds.people.model import Role
from rounds.people.views import OVERSEERS, require_any
from rounds.releases import store, views
from rounds.web.identity import Conn, Reader
from rounds.web.pages import go, page

router = APIRouter(prefix="/models", include_in_schema=False)


@router.get("")
def listing(request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show every model version and what each stage brought."""
    require_any(reader, *OVERSEERS)
    engineer = bool({Role.ENGINEER, Role.ADMIN} & set(reader.roles))
    return page(
        request,
        "releases/list.html",
        reader,
        shelves=views.shelves(conn),
        curves=views.curves(conn),
        engineer=engineer,
    )


@router.post("/{model_id}/promote")
def promote(model_id: int, request: Request, conn: Conn, reader: Reader) -> Response:
    """Let a model version stand for its task."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    with conn.transaction():
        store.promote(conn, model_id, reader.actor)
    return go(request, "/models")


@router.post("/rollback")
def roll_back(
    request: Request, conn: Conn, reader: Reader, task: Annotated[str, Form()], scheme: Annotated[str, Form()]
) -> Response:
    """Take the standing model version off."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    with conn.transaction():
        store.roll_back(conn, task, scheme, reader.actor)
    return go(request, "/models")
