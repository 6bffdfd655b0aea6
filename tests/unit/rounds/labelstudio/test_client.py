"""The client renews its token, repeats what may be repeated, and its errors carry no task data."""

from collections.abc import Callable

import httpx
import pytest

from rounds.labelstudio.client import ATTEMPTS, Client
from rounds.labelstudio.errors import LabelStudioRefused, LabelStudioUnreachable

SECRET = "Doe^John"
Handler = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers token renewals itself and everything else with what the test gives, in order."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str, str]] = []
        self.renewals = 0
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token/refresh":
            self.renewals += 1
            return httpx.Response(200, json={"access": f"access-{self.renewals}"})
        self.calls.append((request.method, request.url.path, request.headers["Authorization"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> Client:
        transport = httpx.MockTransport(self)
        return Client("http://labels.test/", "token", transport=transport, sleep=self.waits.append)


def test_an_expired_token_is_renewed_once() -> None:
    server = Server(httpx.Response(200, json=1), httpx.Response(401), httpx.Response(200, json=2))
    client = server.client()
    assert (client.get("/api/a"), client.get("/api/b")) == (1, 2)
    assert [call[2] for call in server.calls] == ["Bearer access-1", "Bearer access-1", "Bearer access-2"]


def test_a_token_that_stays_refused_is_an_error() -> None:
    server = Server(httpx.Response(401), httpx.Response(401))
    with pytest.raises(LabelStudioRefused) as caught:
        server.client().get("/api/a")
    assert caught.value.status == 401


def test_a_withdrawn_token_says_what_to_do() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(401))
    with pytest.raises(LabelStudioRefused, match="ROUNDS_LABELSTUDIO_TOKEN"):
        Client("http://labels.test", "token", transport=transport).get("/api/a")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "fault", [httpx.Response(502), httpx.ReadError("cut"), httpx.ConnectError("refused")]
)
def test_what_is_idempotent_is_repeated(method: str, fault: httpx.Response | Exception) -> None:
    server = Server(fault, httpx.Response(200, json="done"))
    assert server.client().request(method, "/api/a") == "done"
    assert len(server.calls) == 2
    assert len(server.waits) == 1


@pytest.mark.parametrize("fault", [httpx.Response(502), httpx.ReadError("cut")])
def test_a_post_that_may_have_arrived_is_not_repeated(fault: httpx.Response | Exception) -> None:
    server = Server(fault)
    with pytest.raises(LabelStudioUnreachable):
        server.client().post("/api/a", {})
    assert len(server.calls) == 1


def test_a_post_that_never_left_is_repeated() -> None:
    server = Server(httpx.ConnectError("refused"), httpx.Response(201, json="made"))
    assert server.client().post("/api/a", {}) == "made"


def test_waits_grow_and_end() -> None:
    server = Server(*[httpx.ConnectError("refused")] * ATTEMPTS)
    with pytest.raises(LabelStudioUnreachable, match="rounds up"):
        server.client().get("/api/a")
    assert server.waits == sorted(set(server.waits))
    assert len(server.waits) == ATTEMPTS - 1


@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_error_names_fields_but_no_value(status: int) -> None:
    body = {"detail": SECRET, "validation_errors": {"title": [f"{SECRET} is too long"]}}
    server = Server(*[httpx.Response(status, json=body)] * ATTEMPTS)
    with pytest.raises((LabelStudioRefused, LabelStudioUnreachable)) as caught:
        server.client().post("/api/projects/", {"title": SECRET})
    assert SECRET not in str(caught.value)
    assert status == 500 or "title" in str(caught.value) or status == 403


def test_a_page_of_something_else_is_an_error() -> None:
    server = Server(httpx.Response(200, text="<html>"))
    with pytest.raises(LabelStudioUnreachable, match="ROUNDS_LABELSTUDIO_URL"):
        server.client().get("/api/a")


def test_pages_are_read_to_the_end() -> None:
    server = Server(
        httpx.Response(200, json={"results": [{"id": 1}], "next": "http://labels.test/api/a?page=2"}),
        httpx.Response(200, json={"results": [{"id": 2}], "next": None}),
    )
    assert [entry["id"] for entry in server.client().pages("/api/a")] == [1, 2]


def test_deleting_what_is_gone_is_no_error() -> None:
    server = Server(httpx.Response(404), httpx.Response(204))
    client = server.client()
    assert [client.delete("/api/a"), client.delete("/api/b")] == [False, True]
