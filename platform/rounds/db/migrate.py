"""Apply the numbered `.sql` files, each once, in order, each in one transaction."""

import hashlib
from pathlib import Path

from rounds.db.pool import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 4_726_001  # any constant: two `rounds up` at once take turns


class MigrationChanged(Exception):
    """A migration that was already applied has been edited."""


def migrate(conn: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Bring the schema up to date; return the names of the migrations applied now."""
    applied = []
    conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["name"]: row["sha256"] for row in conn.execute("SELECT name, sha256 FROM migration")}
        for path in sorted(folder.glob("[0-9]*.sql")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if path.name not in done:
                with conn.transaction():
                    conn.execute(path.read_bytes())
                    conn.execute("INSERT INTO migration (name, sha256) VALUES (%s, %s)", (path.name, digest))
                applied.append(path.name)
            elif done[path.name] != digest:
                raise MigrationChanged(
                    f"{path.name} was edited after it was applied: add a new migration instead"
                )
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return applied
