"""People and their sessions in the database."""

import secrets
from collections.abc import Sequence
from datetime import timedelta

from rounds.db import Connection
from rounds.people.model import Person, Role, hash_password, password_matches, token_sha256
from rounds.trail.store import record

COLUMNS = "id, email, name, roles, labelstudio_user"


class UnknownPerson(Exception):
    """Nobody active has this email."""


class WrongPassword(Exception):
    """Email and password do not belong together."""


def add(conn: Connection, actor: str, email: str, name: str, roles: Sequence[Role], password: str) -> Person:
    """Add a person, or return the one who has this email with roles and password renewed."""
    row = conn.execute(
        f"""
        INSERT INTO people (email, name, roles, password_hash) VALUES (lower(%s), %s, %s, %s)
        ON CONFLICT (email) DO UPDATE
            SET name = excluded.name, roles = excluded.roles, password_hash = excluded.password_hash, active = true
        RETURNING {COLUMNS}
        """,
        (email, name, [str(role) for role in roles], hash_password(password)),
    ).fetchone()
    assert row is not None  # noqa: S101 (RETURNING)
    person = _person(row)
    record(conn, actor, "add", "person", person.id, detail={"roles": [str(role) for role in roles]})
    return person


def link_labelstudio(conn: Connection, person_id: int, user_id: int) -> None:
    """Remember who the person is in Label Studio."""
    conn.execute("UPDATE people SET labelstudio_user = %s WHERE id = %s", (user_id, person_id))


def everyone(conn: Connection, role: Role | None = None) -> list[Person]:
    """Return the active people, of one role where asked, oldest first."""
    found = conn.execute(
        f"SELECT {COLUMNS} FROM people WHERE active AND (%(role)s::text IS NULL OR %(role)s = ANY (roles)) ORDER BY id",
        {"role": role},
    )
    return [_person(row) for row in found]


def by_email(conn: Connection, email: str) -> Person:
    """Return the person; raise UnknownPerson."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM people WHERE active AND email = lower(%s)", (email,)
    ).fetchone()
    if row is None:
        raise UnknownPerson(f"nobody here has the email {email}: see `rounds people`")
    return _person(row)


def by_id(conn: Connection, person_id: int) -> Person:
    """Return the person; raise UnknownPerson."""
    row = conn.execute(f"SELECT {COLUMNS} FROM people WHERE id = %s", (person_id,)).fetchone()
    if row is None:
        raise UnknownPerson(f"there is no person {person_id}")
    return _person(row)


def names(conn: Connection) -> dict[str, str]:
    """Return what people are called, by how the trail names them."""
    return {f"person:{row['id']}": row["name"] for row in conn.execute("SELECT id, name FROM people")}


def log_in(conn: Connection, email: str, password: str, lifetime: timedelta = timedelta(hours=12)) -> str:
    """Return a new bearer token; raise WrongPassword without telling which of the two is wrong."""
    row = conn.execute(
        "SELECT id, password_hash FROM people WHERE active AND email = lower(%s)", (email,)
    ).fetchone()
    stored = row["password_hash"] if row else hash_password("")  # the same work for an unknown email
    if not password_matches(password, stored) or row is None:
        raise WrongPassword("email and password do not belong together")
    token = secrets.token_urlsafe(32)
    conn.execute("DELETE FROM tokens WHERE expires_at < now()")
    conn.execute(
        "INSERT INTO tokens (token_sha256, person_id, expires_at) VALUES (%s, %s, now() + %s)",
        (token_sha256(token), row["id"], lifetime),
    )
    return token


def issue_token(conn: Connection, actor: str, person: Person, lifetime: timedelta) -> str:
    """Return a new bearer token for a machine's account, in the caller's transaction; the trail tells of it."""
    token = secrets.token_urlsafe(32)
    conn.execute(
        "INSERT INTO tokens (token_sha256, person_id, expires_at) VALUES (%s, %s, now() + %s)",
        (token_sha256(token), person.id, lifetime),
    )
    record(conn, actor, "issue_token", "person", person.id, detail={"days": lifetime.days})
    return token


def by_token(conn: Connection, token: str) -> Person | None:
    """Return whose unexpired token this is, or None."""
    row = conn.execute(
        """
        SELECT p.id, p.email, p.name, p.roles, p.labelstudio_user FROM tokens t JOIN people p ON p.id = t.person_id
        WHERE t.token_sha256 = %s AND t.expires_at > now() AND p.active
        """,
        (token_sha256(token),),
    ).fetchone()
    return _person(row) if row else None


def log_out(conn: Connection, token: str) -> None:
    """Forget the token."""
    conn.execute("DELETE FROM tokens WHERE token_sha256 = %s", (token_sha256(token),))


def _person(row: dict[str, object]) -> Person:
    roles = tuple(Role(role) for role in row["roles"])  # type: ignore[attr-defined]
    user = row["labelstudio_user"]
    return Person(
        int(str(row["id"])), str(row["email"]), str(row["name"]), roles, int(str(user)) if user else None
    )
