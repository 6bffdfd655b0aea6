"""What follows outside the database once a change is committed; a reconcile flow repairs what gets lost here."""

import logging

import httpx

from rounds import orchestration
from rounds.orchestration import FlowUnavailable
from rounds.settings import NotRunning, Settings

logger = logging.getLogger(__name__)


def ask_for_tasks(settings: Settings, batch_id: int) -> None:
    """Have the batch's missing Label Studio tasks made; a Prefect that is down is no reason to fail a verdict."""
    try:
        orchestration.ring(settings, "batch", {"batch_id": batch_id})
    except (httpx.HTTPError, FlowUnavailable, NotRunning) as error:
        logger.warning(
            "tasks of batch %d were not asked for (%s); the sweep does it", batch_id, type(error).__name__
        )
