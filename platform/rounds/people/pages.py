"""The log-in page, and home: what waits for whom."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from rounds.audits import service as audits
from rounds.batches import views as batches
from rounds.checks import service as checks
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels import views as label_views
from rounds.people import store
from rounds.people.api import open_session
from rounds.people.model import Person, Role
from rounds.people.store import WrongPassword
from rounds.people.views import oversees
from rounds.web.attempts import TooManyAttempts
from rounds.web.identity import COOKIE, Conn, Reader, Running, keep_token, token_of
from rounds.web.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login(request: Request, next: str = "/") -> HTMLResponse:
    """Show the log-in form."""
    return page(request, "people/login.html", None, next=inside(next), email="", message=None)


@router.post("/login")
def log_in(
    request: Request,
    conn: Conn,
    running: Running,
    email: Annotated[str, Form(max_length=320)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Start a session, or show the form again with what was wrong."""
    try:
        token = open_session(conn, running, email.strip(), password)
    except (WrongPassword, TooManyAttempts) as error:
        status = 401 if isinstance(error, WrongPassword) else 429
        message = str(error)[:1].upper() + str(error)[1:] + "."
        return page(
            request, "people/login.html", None, status, next=inside(next), email=email, message=message
        )
    response = RedirectResponse(inside(next), status_code=303)
    keep_token(request, response, token)
    return response


@router.post("/logout")
def log_out(request: Request, conn: Conn) -> Response:
    """End the session."""
    token = token_of(request)
    if token:
        store.log_out(conn, token)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/")
def home(request: Request, conn: Conn, reader: Reader, running: Running) -> HTMLResponse:
    """Show what waits for this person."""
    context = {**waiting(conn, reader), "labelstudio": running.settings.labelstudio_url}
    if request.headers.get("hx-request"):
        return page(request, "people/waiting.html", reader, **context)
    return page(request, "people/home.html", reader, **context)


def waiting(conn: Connection, person: Person) -> dict[str, Any]:
    """Return what waits for the person in each of his roles; None for a role that he does not have."""
    roles = set(person.roles)
    return {
        "drawing": label_views.own(conn, person) if Role.ANNOTATOR in roles else None,
        "checking": checks.queue(conn, person) if Role.CHECKER in roles else None,
        "auditing": audits.queue(conn, person) if Role.SENIOR in roles else None,
        "deciding": batches.waiting_for_decision(conn) if Role.QA in roles else None,
        "stages": labels.stages(conn) if oversees(person) else None,
    }


def inside(path: str) -> str:
    """Return the path when it leads into this site, else home."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe else "/"
