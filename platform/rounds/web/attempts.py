"""How often a login has failed lately, so that passwords cannot be tried in bulk."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable


class TooManyAttempts(Exception):
    """This email has failed to log in too often in the last minutes."""


class Attempts:
    """Failed logins per email within a sliding window (seconds), kept in the memory of one process."""

    def __init__(
        self, limit: int = 8, window: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._failed: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def admit(self, email: str) -> None:
        """Raise TooManyAttempts when the email has used up its attempts."""
        with self._lock:
            self._forget()
            if len(self._failed.get(email.lower(), ())) >= self._limit:
                raise TooManyAttempts(
                    f"too many failed log-ins: wait {self._window / 60:.0f} minutes and try again"
                )

    def fail(self, email: str) -> None:
        """Count one failure."""
        with self._lock:
            self._failed[email.lower()].append(self._clock())

    def _forget(self) -> None:
        horizon = self._clock() - self._window
        for email, times in list(self._failed.items()):
            while times and times[0] < horizon:
                times.popleft()
            if not times:
                del self._failed[email]
