"""Under which key a patient or a series is known, how many cases each key made, and putting a new key in use."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import errors

from rounds.cases.secret import KeyRing, key_ring, renew
from rounds.db import Connection
from rounds.imaging.pseudonyms import key_id, pseudonym, series_key
from rounds.settings import Settings
from rounds.trail.store import record

LOCK = 4_726_009
PATIENCE = "120s"


class KeysInUse(Exception):
    """Scans are being taken in, so the key cannot be changed now."""


@dataclass(frozen=True)
class KeyUse:
    """One key: `id` (None: made before ids were kept), its state, and what it made."""

    id: str | None
    state: str
    cases: int
    patients: int


def lent(settings: Settings, conn: Connection) -> KeyRing:
    """Return the keys, which stay as they are until the connection closes: a rotation waits for that."""
    conn.execute("SELECT pg_advisory_lock_shared(%s)", (LOCK,))
    return key_ring(settings)


def of_patient(conn: Connection, keys: Sequence[bytes], site: str, patient: str) -> bytes:
    """Return the key under which a patient is known, so that pseudonym and date shift stay, or else the current one."""
    names = {pseudonym(key, site, patient): key for key in keys}
    if len(names) > 1:
        known = conn.execute("SELECT id FROM patients WHERE id = ANY (%s)", (list(names),))
        for found in sorted((row["id"] for row in known), key=list(names).index):
            return names[found]
    return keys[0]


def of_series(conn: Connection, keys: Sequence[bytes], identity: str) -> str:
    """Return the keyed digest under which a series is a case or in quarantine, or else that of the current key."""
    digests = [series_key(key, identity) for key in keys]
    if len(digests) > 1:
        known = conn.execute(
            """
            SELECT split_part(series_key, ':', 1) AS series FROM cases
            WHERE split_part(series_key, ':', 1) = ANY (%(digests)s)
            UNION SELECT series FROM quarantine WHERE series = ANY (%(digests)s)
            """,
            {"digests": digests},
        )
        for found in sorted((row["series"] for row in known), key=digests.index):
            return str(found)
    return digests[0]


def remember(conn: Connection, case_id: int, key: bytes) -> None:
    """Write down which key made a case, by its id, in the caller's transaction."""
    conn.execute("UPDATE cases SET key_id = %s WHERE id = %s", (key_id(key), case_id))


def uses(conn: Connection, ring: KeyRing) -> list[KeyUse]:
    """Return every key in the file, the current one first, then those that made cases and are not there any more."""
    rows = conn.execute(
        "SELECT key_id, count(*) AS cases, count(DISTINCT patient_id) AS patients FROM cases GROUP BY key_id"
        " ORDER BY key_id NULLS LAST"
    ).fetchall()
    counted = {row["key_id"]: (int(row["cases"]), int(row["patients"])) for row in rows}
    states = {name: "retired" if place else "current" for place, name in enumerate(ring.ids)}
    states |= {name: "not in the file" if name else "unknown" for name in counted if name not in states}
    return [KeyUse(name, state, *counted.get(name, (0, 0))) for name, state in states.items()]


def rotate(settings: Settings, conn: Connection, actor: str, forget: bool = False) -> KeyRing:
    """Put a new key in use once no scan is being taken in; the trail has its id. `forget` destroys the others.

    Raise KeysInUse, or KeyUnusable if the file cannot be changed.
    """
    conn.execute("SELECT set_config('lock_timeout', %s, false)", (PATIENCE,))
    try:
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    except errors.LockNotAvailable as error:
        raise KeysInUse("scans are being taken in: rotate the key when they are through") from error
    try:
        with conn.transaction():
            before = key_ring(settings)
            ring = renew(settings, forget)
            gone = list(before.ids) if forget else []
            record(conn, actor, "rotate", "key", ring.ids[0], "forget" if forget else "", {"destroyed": gone})
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return ring
