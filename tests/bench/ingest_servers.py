"""The servers that bench-ingest writes to: the S3 server and the PostgreSQL of the embedded stack, for one run."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rounds.db import connect
from rounds.db.migrate import migrate
from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.stack import objects, postgres
from rounds.stack.health import wait_until_up
from rounds.stack.ports import free_port
from rounds.stack.processes import Process, descendants, stop
from rounds.stack.state import prepare_home

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Servers:
    """Two running servers and where they are."""

    settings: Settings
    objects: Process
    database: Process

    def bucket(self, name: str) -> dict[str, str]:
        """Make a bucket; return the environment in which a contender finds it."""
        settings = self.settings.model_copy(update={"s3_bucket": name})
        ObjectStore.from_settings(settings).ensure_bucket()
        known = {
            "ROUNDS_HOME": str(settings.home),
            "ROUNDS_DATABASE_URL": settings.require("database_url"),
            "ROUNDS_S3_URL": settings.require("s3_url"),
            "ROUNDS_S3_ACCESS_KEY": settings.require("s3_access_key"),
            "ROUNDS_S3_SECRET_KEY": settings.require("s3_secret_key"),
            "ROUNDS_S3_BUCKET": name,
        }
        return {**os.environ, **known}

    def empty(self, name: str) -> int:
        """Remove a bucket's objects; return how many bytes they were."""
        folder = self.settings.home / "objects" / name
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
        return size

    def cpu(self) -> tuple[float, float]:
        """Return the processor seconds that the object store and the database took so far."""
        return _cpu(self.objects), _cpu(self.database)


@contextmanager
def running(home: Path) -> Iterator[Servers]:
    """Run both servers while the caller needs them."""
    prepare_home(home)
    log = home / "logs" / "servers.log"
    port = free_port(27310)
    store = objects.start(home, port, log)
    try:
        database_port = free_port(port + 1)
        database = postgres.start(home, database_port, log)
        try:
            settings = Settings(
                home=home,
                database_url=postgres.database_url(home, database_port),
                s3_url=f"http://127.0.0.1:{port}",
                s3_access_key=objects.access_key(home),
                s3_secret_key=objects.secret_key(home),
            )
            url = settings.require("database_url")
            wait_until_up("database", lambda: postgres.probe_server(url), database, log, 60.0)
            postgres.ensure_database(url)
            wait_until_up("objects", lambda: objects.probe_server(settings), store, log, 60.0)
            with connect(settings) as conn:
                migrate(conn)
            yield Servers(settings, store, database)
        finally:
            stop(database)
    finally:
        stop(store)


def _cpu(process: Process) -> float:
    """Sum user and system time of a server's processes and of those that they have waited for, in seconds."""
    total = 0
    for pid in descendants(process):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(ticks) for ticks in fields[11:15])
    return total / TICKS
