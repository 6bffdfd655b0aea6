"""The one place that renders exceptions: JSON for programs, a fragment for htmx, a page for people."""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from markupsafe import escape
from minio.error import S3Error
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.exceptions import HTTPException
from urllib3.exceptions import HTTPError as StoreUnreachable

from rounds.batches.model import IllegalBatchMove
from rounds.batches.store import UnknownBatch
from rounds.cases.choosing import NoChoice
from rounds.cases.holding import AlreadyDecided, UnknownScan
from rounds.cases.model import CaseUnknown
from rounds.cases.quarantine import NotReleasable
from rounds.checks.model import BadVerdict
from rounds.datasets.store import UnknownDataset
from rounds.labels.model import IllegalMove
from rounds.labels.service import NotAssigned
from rounds.labels.store import UnknownLabel
from rounds.labels.views import NoMaskYet, StaleRevision
from rounds.labelstudio.errors import SchemeInvalid
from rounds.objects.store import ObjectCorrupt, ObjectMissing
from rounds.people.model import NotAllowed
from rounds.people.store import UnknownPerson, WrongPassword
from rounds.releases.model import NothingToRollBack
from rounds.releases.store import UnknownModel
from rounds.settings import NotRunning
from rounds.trail.reason import ReasonMissing
from rounds.web.attempts import TooManyAttempts
from rounds.web.identity import NotLoggedIn
from rounds.web.pages import page
from rounds.web.pixels import UnknownSlice

logger = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {
    NotLoggedIn: 401,
    WrongPassword: 401,
    NotAllowed: 403,
    NotAssigned: 403,
    UnknownLabel: 404,
    UnknownBatch: 404,
    UnknownPerson: 404,
    UnknownModel: 404,
    UnknownDataset: 404,
    UnknownSlice: 404,
    UnknownScan: 404,
    CaseUnknown: 404,
    NoMaskYet: 404,
    IllegalMove: 409,
    IllegalBatchMove: 409,
    StaleRevision: 409,
    AlreadyDecided: 409,
    NotReleasable: 409,
    NoChoice: 409,
    NothingToRollBack: 409,
    BadVerdict: 422,
    ReasonMissing: 422,
    TooManyAttempts: 429,
    ObjectMissing: 502,
    ObjectCorrupt: 502,
    SchemeInvalid: 500,
    NotRunning: 503,
}
DATABASE_DOWN = "the database does not answer: nothing was changed, try again in a moment"
SESSION_ENDED = (
    '<p class="notice error" role="alert">Your session has ended; nothing was sent and nothing is lost.'
    ' <a href="/login" target="_blank">Log in in a new tab</a>, then send again here.</p>'
)
STORE_DOWN = (
    "the object store does not answer: try again in a moment, or ask your engineer to run `rounds status`"
)


def install(app: FastAPI) -> None:
    """Make the app render every exception that it knows."""
    for known in STATUS:
        app.add_exception_handler(known, _domain)
    app.add_exception_handler(psycopg.errors.IntegrityError, _guard)
    for down in (psycopg.OperationalError, PoolTimeout, PoolClosed):
        app.add_exception_handler(down, _database_down)
    for unreachable in (S3Error, StoreUnreachable):
        app.add_exception_handler(unreachable, _store_down)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def answer(request: Request, status: int, code: str, message: str) -> Response:
    """Render an error for whoever asked."""
    if request.url.path.startswith(("/api/", "/hooks/", "/healthz")):
        return JSONResponse({"error": code, "message": message}, status_code=status)
    if status == HTTPStatus.UNAUTHORIZED and code == "not_logged_in":
        return _to_login(request)
    sentence = message[:1].upper() + message[1:]
    if request.headers.get("hx-request"):
        return Response(
            f'<p class="notice error" role="alert">{escape(sentence)}</p>',
            status_code=status,
            media_type="text/html",
        )
    title = "Not found" if status == HTTPStatus.NOT_FOUND else "This did not work"
    return page(request, "web/error.html", None, status, title=title, message=sentence, code=code)


def code_of(error: Exception) -> str:
    """Return the coded name of an exception: IllegalMove becomes illegal_move."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def _to_login(request: Request) -> Response:
    if request.headers.get("hx-request") and request.method != "GET":
        return Response(SESSION_ENDED, status_code=401, media_type="text/html")
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": "/login"})
    wanted = request.url.path if request.method == "GET" else "/"
    return RedirectResponse(f"/login?next={quote(wanted)}", status_code=303)


def _domain(request: Request, error: Exception) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return answer(request, status, code_of(error), str(error))


def _guard(request: Request, error: Exception) -> Response:
    """Render a refusal of the database's own guards; of the error only our sentence, never a row."""
    message = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if not isinstance(error, psycopg.errors.CheckViolation):
        message = "somebody else was faster: load the page again"
    separation = "different people" in (message or "")
    return answer(
        request, 403 if separation else 409, "separation" if separation else "guard", message or "refused"
    )


def _database_down(request: Request, error: Exception) -> Response:
    logger.error("the database failed: %s", type(error).__name__)
    return answer(request, 503, "database_down", DATABASE_DOWN)


def _store_down(request: Request, error: Exception) -> Response:
    logger.error("the object store failed: %s", type(error).__name__)
    return answer(request, 503, "objects_down", STORE_DOWN)


def _invalid(request: Request, error: Exception) -> Response:
    faults: Sequence[dict[str, object]] = error.errors() if isinstance(error, RequestValidationError) else ()
    sentences = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in faults]
    return answer(request, 422, "invalid_request", "; ".join(sentences) or "the request is not valid")


def _place(loc: object) -> str:
    parts = (
        [str(part) for part in loc if part not in {"body", "query", "path"}] if isinstance(loc, tuple) else []
    )
    return ".".join(parts) or "body"


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(status).phrase
    message = "there is no page at this address" if status == HTTPStatus.NOT_FOUND else phrase
    return answer(request, status, phrase.lower().replace(" ", "_"), message)
