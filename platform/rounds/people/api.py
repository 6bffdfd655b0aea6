"""Logging in and out over HTTP."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rounds.people import store
from rounds.people.store import WrongPassword
from rounds.web.identity import COOKIE, Conn, Reader, Running, token_of
from rounds.web.service import Service

router = APIRouter(prefix="/api", tags=["people"])


class Login(BaseModel):
    """Who logs in."""

    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=320)
    password: str = Field(max_length=1000)


@router.post("/login")
def log_in(body: Login, conn: Conn, running: Running) -> dict[str, Any]:
    """Return a bearer token that lasts twelve hours, and the person's roles."""
    token = open_session(conn, running, body.email, body.password)
    return {"token": token, "roles": [str(role) for role in store.by_email(conn, body.email).roles]}


@router.post("/logout", status_code=204)
def log_out(request: Request, conn: Conn, _reader: Reader) -> Response:
    """Forget the token that this request carries."""
    store.log_out(conn, token_of(request) or "")
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/me")
def me(reader: Reader) -> dict[str, Any]:
    """Return who the token belongs to."""
    return {
        "id": reader.id,
        "email": reader.email,
        "name": reader.name,
        "roles": [str(role) for role in reader.roles],
    }


def open_session(conn: Conn, running: Service, email: str, password: str) -> str:
    """Return a new token; raise WrongPassword, or TooManyAttempts when this email failed too often lately."""
    running.attempts.admit(email)
    try:
        with conn.transaction():
            return store.log_in(conn, email, password)
    except WrongPassword:
        running.attempts.fail(email)
        raise
