"""Who asks: a bearer token or a session cookie becomes a person."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request, Response

from rounds.db import Connection
from rounds.people import store as people
from rounds.people.model import Person
from rounds.web.service import Service

COOKIE = "rounds_session"


class NotLoggedIn(Exception):
    """The request comes without a token that is still good."""


def service_of(request: Request) -> Service:
    """Return the running service."""
    service: Service = request.app.state.service
    return service


def connection(request: Request) -> Iterator[Connection]:
    """Lend a connection until the answer is made; whoever changes something opens the transaction."""
    with service_of(request).pool.connection(timeout=10) as conn:
        yield conn


def token_of(request: Request) -> str | None:
    """Return the token that the request carries; a bearer token wins over the cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.cookies.get(COOKIE)


Running = Annotated[Service, Depends(service_of)]
Conn = Annotated[Connection, Depends(connection, scope="function")]


def current(request: Request, conn: Conn) -> Person:
    """Return the person who asks, over the request's one connection; raise NotLoggedIn."""
    token = token_of(request)
    person = people.by_token(conn, token) if token else None
    if person is None:
        raise NotLoggedIn("log in first: your session is missing or has ended")
    return person


def keep_token(request: Request, response: Response, token: str) -> None:
    """Give the browser its session cookie, out of reach of scripts and of other sites."""
    secure = service_of(request).secure or request.url.scheme == "https"
    response.set_cookie(
        COOKIE, token, max_age=12 * 3600, httponly=True, samesite="strict", secure=secure, path="/"
    )


Reader = Annotated[Person, Depends(current)]
