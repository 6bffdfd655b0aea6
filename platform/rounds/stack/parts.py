"""The six parts: which setting replaces each, where it usually listens, how it starts, answers and ends."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rounds.db import connect
from rounds.db.migrate import migrate
from rounds.settings import Settings
from rounds.stack import labelstudio, objects, postgres, prefect, service
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import Process


def _nothing(_settings: Settings, _log: Path) -> None:
    return


@dataclass(frozen=True)
class Part:
    """One part of the stack.

    `setting` is the address that, when given, says that the part runs elsewhere; `needs` are the settings it
    holds on to and must be restarted for; `address(home, port)` are the settings it fills once started.
    `probe` returns the version of a part that answers and raises when it does not, `answers` does so before
    `prepare` has run; `refresh` runs on a part that was up already; `prepare_given` prepares a part that runs
    elsewhere, too (schema, bucket). Times are in seconds.
    """

    name: str
    setting: str
    port: int | None
    start: Callable[[Settings, int, Path], Process]
    address: Callable[[Path, int], Mapping[str, str]]
    probe: Callable[[Settings], str]
    answers: Callable[[Settings], str] | None = None
    prepare: Callable[[Settings, Path], None] = _nothing
    refresh: Callable[[Settings, Path], None] = _nothing
    prepare_given: bool = False
    needs: tuple[str, ...] = ()
    timeout: float = 60.0
    stop_with: signal.Signals = signal.SIGTERM
    grace: float = 10.0


def _prepare_database(settings: Settings, _log: Path) -> None:
    postgres.ensure_database(settings.require("database_url"))
    with connect(settings) as conn:
        migrate(conn)


def _renew_token(settings: Settings, log: Path) -> None:
    if labelstudio.token_is_due(settings.home):
        labelstudio.renew_token(settings.home, settings.require("labelstudio_url"), log)


DATABASE = Part(
    name="database",
    setting="database_url",
    port=54329,
    start=lambda settings, port, log: postgres.start(settings.home, port, log),
    address=lambda home, port: {"database_url": postgres.database_url(home, port)},
    answers=lambda settings: postgres.probe_server(settings.require("database_url")),
    probe=lambda settings: postgres.probe(settings.require("database_url")),
    prepare=_prepare_database,
    prepare_given=True,
    stop_with=signal.SIGINT,  # PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave
)
OBJECTS = Part(
    name="objects",
    setting="s3_url",
    port=9000,
    start=lambda settings, port, log: objects.start(settings.home, port, log),
    address=lambda home, port: {
        "s3_url": f"http://{LOOPBACK}:{port}",
        "s3_access_key": objects.access_key(home),
        "s3_secret_key": objects.secret_key(home),
    },
    answers=objects.probe_server,
    probe=objects.probe,
    prepare=lambda settings, _log: objects.ensure_bucket(settings),
    prepare_given=True,
)
LABELSTUDIO = Part(
    name="labelstudio",
    setting="labelstudio_url",
    port=8080,
    start=lambda settings, port, log: labelstudio.start(settings.home, port, log),
    address=lambda home, port: {
        "labelstudio_url": f"http://{LOOPBACK}:{port}",
        "labelstudio_token": labelstudio.token(home),
    },
    probe=lambda settings: labelstudio.probe(settings.require("labelstudio_url")),
    refresh=_renew_token,
    timeout=120.0,
)
PREFECT = Part(
    name="prefect",
    setting="prefect_api_url",
    port=4200,
    start=lambda settings, port, log: prefect.start(settings.home, port, log),
    address=lambda _home, port: {"prefect_api_url": prefect.api_url(port)},
    probe=lambda settings: prefect.probe(settings.require("prefect_api_url")),
    timeout=120.0,
)
WORKER = Part(
    name="worker",
    setting="prefect_api_url",
    port=None,
    start=lambda settings, _port, log: prefect.start_worker(settings, log),
    address=lambda _home, _port: {},
    answers=lambda _settings: "starting",  # the deployments are registered while it starts
    prepare=prefect.register_deployments,
    probe=prefect.probe_worker,
    needs=("prefect_api_url",),
)
SERVICE = Part(
    name="service",
    setting="service_url",
    port=8000,
    start=service.start,
    address=lambda _home, port: {"service_url": f"http://{LOOPBACK}:{port}"},
    probe=lambda settings: service.probe(settings.require("service_url")),
    needs=(
        "database_url", "s3_url", "s3_access_key", "s3_secret_key", "labelstudio_url", "labelstudio_token",
        "prefect_api_url",
    ),
)  # fmt: skip

# The parts of a wave start side by side; a wave waits for the one before. They are stopped in reverse.
WAVES = ((DATABASE, OBJECTS, LABELSTUDIO, PREFECT), (WORKER, SERVICE))
PARTS = tuple(part for wave in WAVES for part in wave)
