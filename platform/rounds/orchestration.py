"""Starting and watching flow runs through Prefect's REST API; nothing here imports Prefect."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from rounds.settings import Settings

BUSY = {429, 502, 503, 504}
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class FlowFailed(Exception):
    """A flow run ended otherwise than completed."""


class FlowUnavailable(Exception):
    """Prefect does not answer, or does not know the deployment."""


@dataclass(frozen=True)
class FlowRun:
    """A flow run as Prefect sees it."""

    id: str
    state: str
    message: str


def start_flow(
    settings: Settings,
    name: str,
    parameters: Mapping[str, Any],
    *,
    key: str | None = None,
    at: datetime | None = None,
) -> str:
    """Ask Prefect to run the deployment `name`/`name`, now or `at` a time; return the run's id.

    The same key never starts a second run.
    """
    with _client(settings) as client:
        found = client.get(f"/deployments/name/{name}/{name}")
        if found.status_code == httpx.codes.NOT_FOUND:
            raise FlowUnavailable(f"Prefect has no deployment {name}/{name}: run `rounds up` once more")
        found.raise_for_status()
        body: dict[str, Any] = {
            "parameters": dict(parameters),
            "state": {"type": "SCHEDULED"},
            "idempotency_key": key or secrets.token_hex(16),
        }
        if at is not None:
            body["state"]["state_details"] = {"scheduled_time": at.isoformat()}
        answer = client.post(f"/deployments/{found.json()['id']}/create_flow_run", json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])


def ring(settings: Settings, name: str, parameters: Mapping[str, Any], pause: float = 3.0) -> None:
    """Have a flow run soon; rings within one `pause` (seconds) share a run that starts after the last."""
    tick = int(time.time() // pause)
    told = "-".join(str(value) for value in parameters.values())
    at = datetime.fromtimestamp((tick + 1) * pause, UTC)
    start_flow(settings, name, parameters, key=f"{name}-{told}-{tick}", at=at)


def flow_run(settings: Settings, run_id: str) -> FlowRun:
    """Return where a flow run stands."""
    with _client(settings) as client:
        answer = client.get(f"/flow_runs/{run_id}")
        answer.raise_for_status()
        run = answer.json()
    state = run.get("state") or {}
    return FlowRun(run_id, state.get("type") or "PENDING", state.get("message") or "")


def wait_for(
    settings: Settings,
    run_id: str,
    *,
    timeout: float = 24 * 3600,
    poll: float = 0.5,
    report: Callable[[FlowRun], None] | None = None,
) -> FlowRun:
    """Wait until a flow run has ended (seconds); raise FlowFailed unless it completed."""
    deadline = time.monotonic() + timeout
    while True:
        run = flow_run(settings, run_id)
        if report:
            report(run)
        if run.state in FINAL:
            break
        if time.monotonic() > deadline:
            raise FlowFailed(
                f"flow run {run_id} is still {run.state.lower()} after {timeout:.0f} s: is the worker up?"
            )
        time.sleep(poll)
    if run.state != "COMPLETED":
        raise FlowFailed(
            f"flow run {run_id} ended {run.state.lower()}: {run.message or 'see its log in Prefect'}"
        )
    return run


def pending_runs(settings: Settings, name: str) -> int:
    """Count runs of a flow that are scheduled for now or waiting to start, so that a doorbell rings only once."""
    body = {
        "flows": {"name": {"any_": [name]}},
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}},
            "expected_start_time": {
                "before_": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
            },
        },
    }
    with _client(settings) as client:
        answer = client.post("/flow_runs/count", json=body)
        answer.raise_for_status()
        return int(answer.json())


def _client(settings: Settings) -> httpx.Client:
    return httpx.Client(
        base_url=settings.require("prefect_api_url"),
        timeout=30,
        trust_env=False,
        transport=_Patient(retries=2),
    )


class _Patient(httpx.HTTPTransport):
    """Asks again while Prefect is too busy to answer: its SQLite takes one writer at a time.

    Nothing is done twice by it, since every request here reads, or carries an idempotency key.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for pause in PAUSES:
            try:
                answer = super().handle_request(request)
            except (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError):
                continue
            if answer.status_code not in BUSY:
                return answer
            answer.close()
            time.sleep(pause)
        return super().handle_request(request)
