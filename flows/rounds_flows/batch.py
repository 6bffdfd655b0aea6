"""The batch flow: pre-labels and tasks for every label of a batch that somebody has to draw."""

from prefect import flow, get_run_logger, task

from rounds.batches import service
from rounds.db import connect
from rounds.labels.placing import Placer
from rounds.labels.tasks import lacking, one_at_a_time
from rounds.labelstudio.client import Client
from rounds.objects import ObjectStore
from rounds.settings import load_settings
from rounds_flows.prelabel import prelabel

ACTOR = "flow:batch"


@flow(name="batch")
def batch(batch_id: int) -> int:
    """Put what waits in a batch before its annotators; running it again adds nothing. Return the tasks' count."""
    prelabel(batch_id)
    placed = int(place(batch_id))
    with connect(load_settings()) as conn, conn.transaction():
        service.start(conn, batch_id, ACTOR)
    return placed


@task(name="place", retries=2, retry_delay_seconds=5)
def place(batch_id: int | None) -> int:
    """Make the missing tasks in Label Studio, of one batch or of all."""
    settings = load_settings()
    client = Client.from_settings(settings)
    with connect(settings) as conn, one_at_a_time(conn, "placing"):
        placer = Placer(settings, conn, client, ObjectStore.from_settings(settings))
        wanted = lacking(conn, batch_id)
        for label_id in wanted:
            placer.place(label_id)
    client.close()
    get_run_logger().info("%d labels placed", len(wanted))
    return len(wanted)
