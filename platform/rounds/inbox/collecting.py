"""From the inbox to the ingest flow: what is complete is handed over, followed to its end, and cleared away."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from rounds import orchestration
from rounds.cases import spool
from rounds.db import connect
from rounds.inbox import counting
from rounds.inbox.archive import ArchiveFailed
from rounds.inbox.counting import Counts
from rounds.inbox.folders import Inbox, Patience, Taking, Waiting
from rounds.inbox.model import Standing
from rounds.inbox.settings import Receiving
from rounds.orchestration import FINAL, FlowUnavailable
from rounds.settings import NotRunning, Settings
from rounds.trail.store import history, record

logger = logging.getLogger(__name__)
ATTEMPTS = 3
AT_ONCE = 2
ASKING_SECONDS = 60
ACTOR, IN_PART = "inbox", "take_in_part"
UNREACHABLE = (FlowUnavailable, NotRunning, httpx.HTTPError)
WAITS = {
    Standing.INCOMPLETE: "{have} of {expected} slices came: send the rest, or `rounds inbox take {key}`",
    Standing.LATE: "{have} slices came after their series was taken in: send the whole series again",
}


class Collector:
    """Looks into the inbox every so often; of several processes one collects, and another one when it is gone."""

    def __init__(
        self, settings: Settings, receiving: Receiving, tell: Callable[[str], None] = logger.info
    ) -> None:
        self._settings = settings
        self._receiving = receiving
        self._tell = tell
        self._inbox = Inbox(settings.home)
        self._told: set[tuple[str, int]] = set()
        self._silent = False
        self._since = 0.0
        self._mute = False
        self._idle = False
        counting.check(receiving)

    def run(self, stop: threading.Event) -> None:
        """Collect until `stop` is set; nothing that goes wrong ends it."""
        pause = min(1.0, self._receiving.quiet_seconds / 4)
        while not stop.is_set():
            with self._inbox.collecting(self._receiving.quiet_seconds) as ours:
                self._since = time.time()
                if not ours and not self._idle:
                    self._tell(
                        "another process takes series in, the service or a second receiver: its settings hold,"
                        " and its log tells what comes of them"
                    )
                self._idle = not ours
                while ours and not stop.wait(pause):
                    self._guarded()
            stop.wait(pause)

    def step(self) -> None:
        """Hand over what is complete, look after what is being taken in, and remove what was kept long enough."""
        self._make_room()
        self._follow()
        if len([lot for lot in self._inbox.takings() if not lot.failed]) < AT_ONCE:
            self._ask()
            self._inbox.claim(self._receiving.quiet_seconds, self._since, **self._patience())
            self._follow()
        self._tell_waiting()

    def _patience(self) -> Patience:
        return {
            "asks": self._receiving.archive is not None,
            "longest": 60 * self._receiving.longest_wait_minutes,
        }

    def _waiting(self) -> list[Waiting]:
        return self._inbox.waiting(self._receiving.quiet_seconds, self._since, **self._patience())

    def _ask(self) -> None:
        """Ask the archive about each series whose quiet period is over; where it does not answer, that decides."""
        due = [one for one in self._waiting() if one.standing is Standing.UNASKED]
        if not due:
            return
        end = time.monotonic() + ASKING_SECONDS
        try:
            with counting.asked(self._receiving) as archive:
                while due and time.monotonic() < end:  # what is left over is asked about in the next step
                    self._ask_about(archive, due[0])
                    due.pop(0)
            self._mute = False
        except Exception as error:
            for one in due:
                self._inbox.heard(one)
            known = isinstance(error, ArchiveFailed)
            why = error if known else f"the archive cannot be asked ({type(error).__name__})"
            if not self._mute:
                self._tell(f"{why}: until it answers, the quiet period alone decides")
            self._mute = True

    def _ask_about(self, archive: Counts, one: Waiting) -> None:
        who = self._inbox.identity(one.key)
        told = counting.slices_of(archive, who, one.pile.at_hand) if who else None
        self._inbox.heard(one, told)
        if told is None:
            self._tell(f"the archive does not know series {one.key[:12]}: its quiet period decides")

    def _guarded(self) -> None:
        try:
            self.step()
            self._silent = False
        except UNREACHABLE as error:
            if not self._silent:
                self._tell(
                    f"Prefect does not answer ({type(error).__name__}): what arrives is kept and tried again"
                )
            self._silent = True
        except Exception as error:
            if not self._silent:
                self._tell(
                    f"collecting failed ({type(error).__module__}.{type(error).__name__}): trying again"
                )
            self._silent = True

    def _make_room(self) -> None:
        """Remove kept files that are old enough, or all of them where the disk is short."""
        short = shutil.disk_usage(self._inbox.root).free < 2 * self._receiving.spare_bytes
        self._inbox.expire(0 if short else 60 * self._receiving.keep_minutes)

    def _follow(self) -> None:
        for lot in self._inbox.takings():
            if not lot.failed:
                self._follow_one(lot)

    def _follow_one(self, lot: Taking) -> None:
        if lot.ticket is None:
            request = spool.Request(self._inbox.folder_of(lot), lot.site, None)
            lot = replace(lot, ticket=spool.ask(self._settings, request))
            self._inbox.note(lot)
        ticket = str(lot.ticket)
        if lot.run is None:
            key = f"ingest-{ticket}-{lot.tries}-{lot.attempts}"
            lot = replace(
                lot, run=orchestration.start_flow(self._settings, "ingest", {"ticket": ticket}, key=key)
            )
            self._inbox.note(lot)
        state = self._state(str(lot.run))
        if state == "COMPLETED":
            summary = spool.summary(self._settings, ticket)
            self._record(lot, summary)
            self._tell(sentence(lot, summary))
            self._inbox.settle(lot, keep=self._receiving.keep_minutes > 0)
            spool.clear(self._settings, ticket)
        elif state in FINAL:
            self._failed(lot)

    def _record(self, lot: Taking, summary: dict[str, Any]) -> None:
        """Tell the trail of each case that was taken in although slices were missing, once."""
        if lot.missing is None:
            return
        came, expected = lot.missing
        with connect(self._settings) as conn, conn.transaction():
            for case in (accepted["case"] for accepted in summary["accepted"]):
                if IN_PART not in {event.action for event in history(conn, "case", case)}:
                    detail = {"came": came, "expected": expected}
                    record(conn, ACTOR, IN_PART, "case", case, f"{came} of {expected} slices came", detail)

    def _state(self, run: str) -> str:
        try:
            return orchestration.flow_run(self._settings, run).state
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            return "CRASHED"  # Prefect's own memory was lost

    def _failed(self, lot: Taking) -> None:
        """Try again: after the first time each series alone, after the last a person decides."""
        attempts = lot.attempts + 1
        over = attempts >= ATTEMPTS
        again = replace(lot, run=None, attempts=attempts, failed=over)
        self._inbox.note(again)
        if over:
            self._tell(
                f"{len(lot.series)} series from {lot.site} could not be taken in after {attempts} attempts and stay in"
                " the inbox: see the flow's log in Prefect, then `rounds inbox retry`"
            )
        elif len(lot.series) > 1:
            self._inbox.split(again)
            spool.clear(self._settings, str(lot.ticket))

    def _tell_waiting(self) -> None:
        for one in self._waiting():
            mark = (one.key, one.pile.at_hand)
            if one.standing in WAITS and mark not in self._told:
                self._told.add(mark)
                self._tell(advice(one))


@contextmanager
def collected(settings: Settings, receiving: Receiving) -> Iterator[None]:
    """Collect in the background for as long as it lasts, where an account may send over HTTP; else do nothing."""
    if not any(who.startswith("@") for who in receiving.senders):
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(
        target=Collector(settings, receiving, logger.warning).run, args=(stop,), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def advice(one: Waiting) -> str:
    """Say what a series waits for and what to do about it; empty where it is on its way."""
    told = WAITS.get(one.standing, "")
    return told.format(have=one.pile.at_hand, expected=one.pile.expected, key=one.key[:12])


def sentence(lot: Taking, summary: dict[str, Any]) -> str:
    """Say what became of a lot, in numbers alone."""
    reasons = sorted({entry["reason"] for entry in summary["quarantined"]})
    held = f" ({', '.join(reasons)})" if reasons else ""
    part = f" with {lot.missing[0]} of {lot.missing[1]} slices" if lot.missing else ""
    return (
        f"{len(lot.series)} series from {lot.site}{part}: {len(summary['accepted'])} cases,"
        f" {len(summary['quarantined'])} quarantined{held}, {summary['unchanged']} unchanged"
    )


def age(seconds: float) -> str:
    """Write how long ago something was."""
    passed = max(0, int(time.time() - seconds))
    return f"{passed} s" if passed < 120 else f"{passed // 60} min"
