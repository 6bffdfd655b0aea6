"""The Prefect server on SQLite, the process worker of the pool `rounds`, and the registering of deployments."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import httpx

from rounds.settings import Settings
from rounds.stack.health import PartFailed, answer
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import NO_WAY_OUT, Process, neutral_environment, open_log, spawn

POOL = "rounds"
RUNS_AT_ONCE = 3  # one long run, one short one, and room for the sync
HEARTBEAT = 5  # seconds
LATELY = 90  # seconds: a worker elsewhere keeps to the usual heartbeat of 30

SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}


def start(home: Path, port: int, log: Path) -> Process:
    """Start the server; its database and its copy of the pages are in `<home>/prefect`."""
    place = _folder(home)
    env = neutral_environment(
        {
            **SILENT,
            **NO_WAY_OUT,
            "PREFECT_HOME": str(place),
            "PREFECT_API_URL": api_url(port),
            "PREFECT_SERVER_UI_API_URL": api_url(port),
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(place / "pages"),
            "PREFECT_SERVER_API_HOST": LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_DEPLOYMENT_SCHEDULE_MAX_SCHEDULED_RUNS": "10",
        }
    )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    return spawn(command, log=log, env=env, cwd=place)


def api_url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/api"


def probe(url: str) -> str:
    """Return the version of the Prefect server whose API is at `url`."""
    answer(f"{url}/health")
    return str(answer(f"{url}/admin/version").json())


def register_deployments(settings: Settings, log: Path) -> None:
    """Register every flow that exists as a deployment; run again, it updates them and drops overdue runs."""
    with open_log(log) as output:
        result = subprocess.run(
            [sys.executable, "-m", "rounds_flows.deployments"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_client_environment(settings),
            cwd=_folder(settings.home),
            check=False,
        )
    if result.returncode != 0:
        raise PartFailed(f"prefect: the deployments could not be registered: see {log}")


def start_worker(settings: Settings, log: Path) -> Process:
    """Start the worker; flow runs inherit its environment and its python.

    Scans are taken in side by side already: more threads of BLAS and OpenCV would spin while they wait for each other.
    """
    command = [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process",
        "--name", worker_name(settings.home), "--limit", str(RUNS_AT_ONCE),
    ]  # fmt: skip
    with httpx.Client(
        trust_env=False, timeout=5.0
    ) as client:  # a heartbeat seen from now on is the new one's
        pool = f"{settings.require('prefect_api_url')}/work_pools/{POOL}"
        client.delete(f"{pool}/workers/{worker_name(settings.home)}")
    env = {**_client_environment(settings), **ONE_THREAD}
    return spawn(command, log=log, env=env, cwd=_folder(settings.home))


def worker_name(home: Path) -> str:
    return f"embedded-{home.name.strip('.')}"


def probe_worker(settings: Settings) -> str:
    """Return the worker's version if the server has heard from a worker of the pool lately."""
    since = datetime.now(UTC) - timedelta(seconds=LATELY)
    url = f"{settings.require('prefect_api_url')}/work_pools/{POOL}/workers/filter"
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        workers = client.post(url, json={}).raise_for_status().json()
    heard = [worker["last_heartbeat_time"] for worker in workers if worker["last_heartbeat_time"]]
    if not any(datetime.fromisoformat(time.replace("Z", "+00:00")) >= since for time in heard):
        raise httpx.ReadTimeout("no worker of the pool has been heard of lately")
    return version("prefect")


def _client_environment(settings: Settings) -> dict[str, str]:
    scratch = _folder(settings.home) / "tmp"  # the usual one is shared by all users, and Prefect's is in it
    scratch.mkdir(mode=0o700, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        **SILENT,
        "ROUNDS_HOME": str(settings.home.absolute()),
        "TMPDIR": str(scratch),
        "PREFECT_HOME": str(_folder(settings.home)),
        "PREFECT_API_URL": settings.require("prefect_api_url"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT),
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "10",
    }


def _folder(home: Path) -> Path:
    place = home.absolute() / "prefect"
    place.mkdir(mode=0o700, exist_ok=True)
    return place
