"""Requests that change something come from our own pages or from programs without a cookie."""

import pytest
from starlette.datastructures import Headers

from rounds.people.pages import inside
from rounds.web.shield import same_origin

COOKIE = {"cookie": "a=b; rounds_session=secret", "host": "rounds.example"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "allowed"),
    [
        ("GET", "/", COOKIE, True),
        ("POST", "/checks/1", COOKIE, False),
        ("POST", "/checks/1", {**COOKIE, "sec-fetch-site": "same-origin"}, True),
        ("POST", "/checks/1", {**COOKIE, "sec-fetch-site": "same-site"}, False),
        ("POST", "/checks/1", {**COOKIE, "sec-fetch-site": "cross-site"}, False),
        ("POST", "/checks/1", {**COOKIE, "sec-fetch-site": "none"}, False),
        ("POST", "/checks/1", {**COOKIE, "origin": "https://rounds.example"}, True),
        ("POST", "/checks/1", {**COOKIE, "origin": "https://rounds.example.evil"}, False),
        ("POST", "/checks/1", {**COOKIE, "origin": "null"}, False),
        ("DELETE", "/api/anything", COOKIE, False),
        ("POST", "/api/login", {"host": "rounds.example"}, True),
        ("POST", "/api/labels/1/checks", {**COOKIE, "authorization": "Bearer token"}, True),
        ("POST", "/login", {"host": "rounds.example", "origin": "https://evil.example"}, False),
        ("POST", "/hooks/labelstudio", {"origin": "http://labelstudio.example"}, True),
    ],
)
def test_same_origin(method: str, path: str, headers: dict[str, str], allowed: bool) -> None:
    assert same_origin(method, path, Headers(headers)) is allowed


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", ""])
def test_the_way_back_after_logging_in_stays_inside(path: str) -> None:
    assert inside(path) == "/"
    assert inside("/checks/3") == "/checks/3"
