"""The sweep flow: repairs what a crash left out, from the state alone."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow, get_client, get_run_logger, task
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Scheduled

from rounds.batches import store as batches
from rounds.batches.model import BatchState
from rounds.cases import holding
from rounds.db import connect
from rounds.labels import tasks
from rounds.labels.placing import Placer
from rounds.labelstudio.client import Client
from rounds.labelstudio.sync import present_tasks
from rounds.labelstudio.tasks import delete_task
from rounds.objects import ObjectStore
from rounds.settings import load_settings
from rounds_flows.batch import batch, place
from rounds_flows.quarantine import quarantine

OPENING_TAKES = timedelta(minutes=30)  # a batch open for longer has lost its flow run
RENEW_BEFORE = timedelta(days=2)


@flow(name="sweep")
def sweep() -> None:
    """Re-schedule dead runs, place missing tasks, renew slice addresses, carry out what was decided."""
    revived = revive_dead_runs()
    mend_tasks()
    place(None)
    with connect(load_settings()) as conn:
        before = datetime.now(UTC) - OPENING_TAKES
        opened = [found for found in batches.everything(conn) if found.state is BatchState.OPEN]
        stuck = [found.id for found in opened if found.created_at < before]
        waiting = holding.unsettled(conn)
    for batch_id in stuck:
        batch(batch_id)
    for number in waiting:
        quarantine(number)
    get_run_logger().info("%d runs re-scheduled, %d batches started", revived, len(stuck))


@task(name="revive")
def revive_dead_runs() -> int:
    """Schedule flow runs anew whose process on this machine is gone; return how many."""
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    revived = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=running):
            if run.deployment_id is not None and process_is_gone(run):
                client.set_flow_run_state(run.id, Scheduled(message="its process was gone"), force=True)
                revived += 1
    return revived


def process_is_gone(run: FlowRun) -> bool:
    """Tell whether the run had a process on this machine that no longer is one of a flow run."""
    host, _, pid = (run.infrastructure_pid or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        return b"prefect" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


@task(name="mend")
def mend_tasks() -> None:
    """Strike tasks that vanished from Label Studio, renew addresses, delete what nobody needs to draw any more."""
    settings = load_settings()
    client = Client.from_settings(settings)
    with connect(settings) as conn:
        placer = Placer(settings, conn, client, ObjectStore.from_settings(settings))
        waiting = tasks.open_tasks(conn)
        present = {
            task_id
            for project in {t.project_id for t in waiting}
            for task_id in present_tasks(client, project)
        }
        for found in waiting:
            if found.task_id not in present:
                tasks.forget(conn, found.task_id)
            elif found.urls_expire_at < datetime.now(UTC) + RENEW_BEFORE:
                placer.refresh(found)
        for found in tasks.obsolete(conn):
            delete_task(client, found.task_id)
            tasks.forget(conn, found.task_id)
    client.close()
