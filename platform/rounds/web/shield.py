"""What stands between the network and the app: headers, the same-origin rule, and a log without anybody's data."""

import logging
import traceback
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rounds.web.identity import COOKIE

logger = logging.getLogger(__name__)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE = {"GET", "HEAD", "OPTIONS"}


class Shield:
    """Outermost ASGI layer: nothing of a failed request but its kind and place in the code is ever logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _harden(MutableHeaders(scope=message))
            await send(message)

        if not same_origin(scope["method"], scope["path"], Headers(scope=scope)):
            refused = {
                "error": "cross_site",
                "message": "this came from another site and was refused: open Rounds itself",
            }
            await JSONResponse(refused, status_code=403)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s at %s:%s", type(error).__name__, place.filename, place.lineno)
            if not started:
                body = {
                    "error": "internal",
                    "message": "something broke inside Rounds; its log names the place",
                }
                await JSONResponse(body, status_code=500)(scope, receive, guarded)


def same_origin(method: str, path: str, headers: Headers) -> bool:
    """Tell whether a request may change something: from our own pages, or from a program without cookies."""
    if method in SAFE or path.startswith("/hooks/"):
        return True
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    if origin is not None:
        return urlsplit(origin).netloc == headers.get("host")
    return f"{COOKIE}=" not in headers.get("cookie", "")


def _harden(headers: MutableHeaders) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if "cache-control" not in headers:
        headers["Cache-Control"] = "no-cache" if "etag" in headers else "no-store"
