"""Annotators' accounts in Label Studio, made and used over HTTP as a person would: sign up by invitation, log in."""

import secrets
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from rounds.labelstudio.client import TIMEOUT_S, Client, may_use_proxy, unreachable
from rounds.labelstudio.errors import LabelStudioRefused

LOGIN = "/user/login/"
WHOAMI = "/api/current-user/whoami"


@dataclass(frozen=True)
class Account:
    """A person in Label Studio; `password` only when the account was made just now, it is kept nowhere."""

    user_id: int
    email: str
    password: str | None


def find_account(client: Client, email: str) -> Account | None:
    """Return the account with this e-mail address, or None."""
    wanted = email.lower()
    return next(
        (
            Account(int(user["id"]), wanted, None)
            for user in client.get("/api/users/")
            if str(user["email"]).lower() == wanted
        ),
        None,
    )


def account_emails(client: Client) -> dict[int, str]:
    """Return the e-mail addresses of all accounts by their number."""
    return {int(user["id"]): str(user["email"]).lower() for user in client.get("/api/users/")}


def invitation(client: Client) -> str:
    """Return the address at which a person makes an account of their own."""
    return urljoin(client.url + "/", str(client.get("/api/invite")["invite_url"]))


def ensure_account(client: Client, email: str, password: str | None = None) -> Account:
    """Return the account of `email`, made by the invitation link when there is none.

    The users API of the open-source edition sets no password, so an account made there could never log in.
    A new account gets `password`, or a generated one.
    """
    known = find_account(client, email)
    if known is not None:
        return known
    chosen = password or secrets.token_urlsafe(18)
    link = invitation(client)
    with _session(client.url, TIMEOUT_S) as session:
        answer = _submit_form(session, link, {"email": email.lower(), "password": chosen})
    if answer.status_code != httpx.codes.FOUND:
        known = find_account(client, email)
        if known is not None:
            return known
        raise LabelStudioRefused(
            answer.status_code,
            "Label Studio refuses the new account: check the address, the password's length (8 or more) and "
            "that sign-up by invitation is open",
        )
    made = find_account(client, email)
    if made is None:
        raise LabelStudioRefused(404, "the new account is in another organisation than the token's")
    return Account(made.user_id, made.email, chosen)


def log_in(url: str, email: str, password: str, *, timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """Return an HTTP client with this person's session cookie and CSRF header; the caller closes it."""
    session = _session(url.rstrip("/"), timeout_s)
    answer = _submit_form(session, LOGIN, {"email": email, "password": password, "persist_session": "on"})
    if answer.status_code != httpx.codes.FOUND:
        session.close()
        raise LabelStudioRefused(answer.status_code, "Label Studio refuses this address and password")
    session.headers["X-CSRFToken"] = session.cookies["csrftoken"]
    session.headers["Referer"] = str(session.base_url)
    return session


def _session(url: str, timeout_s: float) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=timeout_s, trust_env=may_use_proxy(url))


def _submit_form(session: httpx.Client, path: str, fields: dict[str, str]) -> httpx.Response:
    try:
        session.get(path).raise_for_status()
        form = {**fields, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
        return session.post(path, data=form, headers={"Referer": str(session.base_url.join(path))})
    except httpx.HTTPError as error:
        raise unreachable(str(session.base_url), "POST", path.partition("?")[0], error) from None
