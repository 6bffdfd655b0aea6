"""A thin client of Label Studio's HTTP API: token renewal, retries, and errors that never carry task data."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import httpx

from rounds.labelstudio.errors import LabelStudioRefused, LabelStudioUnreachable
from rounds.settings import Settings

TIMEOUT_S = 60.0
ATTEMPTS = 5
FIRST_WAIT_S = 0.25
PAGE = 100
REPEATABLE = {"GET", "PATCH", "DELETE"}


class Client:
    """Label Studio as its administrator, by personal access token; safe to share between threads.

    GET, PATCH and DELETE are repeated on connection errors and 5xx; POST only when no connection was made, so
    that nothing is created twice.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._access: str | None = None
        self._renewal = threading.Lock()
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout_s, transport=transport, trust_env=may_use_proxy(self.url)
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Client":
        return cls(settings.require("labelstudio_url"), settings.require("labelstudio_token"))

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """GET `path`; return the JSON."""
        return self.request("GET", path, params=params)

    def post(self, path: str, body: Any, **params: Any) -> Any:
        """POST `body` as JSON; return the JSON."""
        return self.request("POST", path, body=body, params=params)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH `body` as JSON; return the JSON."""
        return self.request("PATCH", path, body=body)

    def delete(self, path: str) -> bool:
        """DELETE `path`; return False when there was nothing."""
        try:
            self.request("DELETE", path)
        except LabelStudioRefused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list that answers in pages of `results`."""
        page: int | None = 1
        while page is not None:
            answer = self.get(path, page=page, page_size=PAGE, **params)
            yield from answer["results"]
            page = page + 1 if answer.get("next") else None

    def request(
        self, method: str, path: str, *, body: Any = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Send one call with its retries; raise LabelStudioUnreachable or LabelStudioRefused."""
        access = self._access or self._renew(None)
        answer = self._send(method, path, body, params, access)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            answer = self._send(method, path, body, params, self._renew(access))
        return read_answer(method, path, answer)

    def _renew(self, spent: str | None) -> str:
        with self._renewal:
            if self._access is not None and self._access != spent:
                return self._access
            path = "/api/token/refresh"
            answer = self._send("POST", path, {"refresh": self._token}, None, None)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise LabelStudioRefused(
                    401, "Label Studio refuses the token: set ROUNDS_LABELSTUDIO_TOKEN anew"
                )
            self._access = str(read_answer("POST", path, answer)["access"])
            return self._access

    def _send(
        self, method: str, path: str, body: Any, params: dict[str, Any] | None, access: str | None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access}"} if access else {}
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = self._http.request(method, path, json=body, params=params, headers=headers)
            except httpx.TransportError as error:
                if last or not (method in REPEATABLE or isinstance(error, httpx.ConnectError)):
                    raise unreachable(self.url, method, path, error) from None
            else:
                if last or answer.status_code < 500 or method not in REPEATABLE:
                    return answer
            self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")


def may_use_proxy(url: str) -> bool:
    """Return whether the environment's proxy and certificates hold for `url`: not for this machine itself."""
    return httpx.URL(url).host not in {"127.0.0.1", "::1", "localhost"}


def unreachable(url: str, method: str, path: str, error: Exception) -> LabelStudioUnreachable:
    """Return the error for a call that got no answer."""
    return LabelStudioUnreachable(
        f"Label Studio at {url} does not answer {method} {path} ({type(error).__name__}): "
        "run `rounds status`, then `rounds up`"
    )


def read_answer(method: str, path: str, answer: httpx.Response) -> Any:
    """Return the JSON of `answer`; raise with the status and the names of the refused fields, never their values."""
    call = f"{method} {path}"
    if answer.status_code >= 500:
        raise LabelStudioUnreachable(
            f"Label Studio failed on {call} (status {answer.status_code}): see its log, then try again"
        )
    if answer.status_code >= 300:
        fields = _refused_fields(answer)
        named = f", about {', '.join(fields)}" if fields else ""
        raise LabelStudioRefused(
            answer.status_code, f"Label Studio refuses {call} (status {answer.status_code}{named})"
        )
    if answer.status_code == httpx.codes.NO_CONTENT or not answer.content:
        return None
    try:
        return answer.json()
    except json.JSONDecodeError as error:
        raise LabelStudioUnreachable(
            f"{call} is not answered by Label Studio: check ROUNDS_LABELSTUDIO_URL"
        ) from error


def _refused_fields(answer: httpx.Response) -> list[str]:
    try:
        fields = answer.json()["validation_errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return sorted(str(name) for name in fields) if isinstance(fields, dict) else []
