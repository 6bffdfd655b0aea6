"""Label Studio's doorbell: whoever rings, and however often, at most one sync waits to run."""

import logging
import threading
import time

import httpx

from rounds import orchestration
from rounds.orchestration import FlowUnavailable
from rounds.settings import NotRunning, Settings

logger = logging.getLogger(__name__)


class Doorbell:
    """Rings within `pause` seconds of each other start one sync; one that rings meanwhile is not lost."""

    def __init__(self, settings: Settings, pause: float = 1.0) -> None:
        self._settings = settings
        self._pause = pause
        self._rung = False
        self._answering = False
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Start a sync unless one waits already; return at once when another thread is about to do it."""
        with self._lock:
            self._rung = True
            if self._answering:
                return
            self._answering = True
        while self._take():
            self._answer()
            time.sleep(self._pause)

    def _take(self) -> bool:
        with self._lock:
            if not self._rung:
                self._answering = False
                return False
            self._rung = False
            return True

    def _answer(self) -> None:
        try:
            if orchestration.pending_runs(self._settings, "sync") == 0:
                orchestration.start_flow(self._settings, "sync", {})
        except (httpx.HTTPError, FlowUnavailable, NotRunning) as error:
            logger.warning("the sync was not started (%s); the next poll catches up", type(error).__name__)
