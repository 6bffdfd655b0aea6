"""The sync flow: brings submitted annotations back as revisions; the webhook only rings for it."""

from prefect import flow, get_run_logger, task

from rounds.db import connect
from rounds.labels.collecting import Collector
from rounds.labels.tasks import one_at_a_time, projects
from rounds.labelstudio.client import Client
from rounds.objects import ObjectStore
from rounds.settings import load_settings


@flow(name="sync")
def sync() -> int:
    """Read what annotators submitted since the last time; return how many labels went on to be checked."""
    return int(collect())


@task(name="collect", retries=2, retry_delay_seconds=5)
def collect() -> int:
    """Poll every project that holds a task."""
    settings = load_settings()
    client = Client.from_settings(settings)
    with connect(settings) as conn, one_at_a_time(conn, "collecting"):
        collector = Collector(settings, conn, client, ObjectStore.from_settings(settings))
        submitted = sum(collector.collect(project_id) for project_id in projects(conn))
    client.close()
    get_run_logger().info("%d labels submitted", submitted)
    return submitted
