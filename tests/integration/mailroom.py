"""A mail room made by code: an inbox whose series are taken in by the real intake, without Prefect, for tests."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.scans import write_series

from rounds import orchestration
from rounds.cases import sources, spool
from rounds.cases.intake import take_in
from rounds.db import connect
from rounds.inbox.collecting import Collector
from rounds.inbox.folders import Inbox, identify
from rounds.inbox.settings import Receiving
from rounds.orchestration import FlowRun
from rounds.settings import Settings
from rounds_flows.ingest import intake_for


@dataclass
class Mailroom:
    """An inbox whose collector is stepped by hand, with the intake in place of a flow run.

    A series of `poison` slices fails, as by a fault of ours.
    """

    settings: Settings
    site: str
    scan: Path
    told: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    down: bool = False
    broken: bool = False
    poison: int = 0

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.settings.home)

    def arrive(self, first: int, last: int, expected: int | None = None) -> int:
        """Deliver slices of the series, numbers `first` up to `last`; return how many were new."""
        new = 0
        for path in sorted(self.scan.glob("*.dcm")):
            one = identify(path)
            if first <= int(one.instance.rpartition(".")[2]) < last:
                draft = self.settings.home / f".{path.name}"
                shutil.copy(path, draft)
                new += self.inbox.deliver(draft, one, self.site, expected)
        return new

    def collect(
        self,
        quiet: float = 0.001,
        keep_minutes: float = 60,
        archive: str | None = None,
        longest_wait_minutes: float = 1440,
    ) -> None:
        receiving = Receiving(
            quiet_seconds=quiet,
            keep_minutes=keep_minutes,
            archive=archive,
            longest_wait_minutes=longest_wait_minutes,
        )
        collector = Collector(self.settings, receiving, self.told.append)
        collector.step()
        collector.step()

    def start(self, _settings: Settings, name: str, parameters: Mapping[str, str], *, key: str) -> str:
        """Do what the flow does, in place of asking Prefect for it."""
        assert name == "ingest"
        if self.down:
            raise orchestration.FlowUnavailable("Prefect is away")
        if key not in self.runs:
            sound = not self.broken and self._ingest(parameters["ticket"])
            self.runs[key] = "COMPLETED" if sound else "FAILED"
        return key

    def _ingest(self, ticket: str) -> bool:
        request = spool.request_of(self.settings, ticket)
        sound = True
        with connect(self.settings) as conn, sources.opened(self.settings.home, request.path) as source:
            for index, series in enumerate(source.find().series):
                if len(series.slices) == self.poison:
                    sound = False
                    continue
                outcome = take_in(intake_for(self.settings, conn, request.site, source.named), series)
                spool.report(self.settings, ticket, index, outcome)
        return sound

    def files(self) -> int:
        return len(list(self.inbox.root.rglob("*.dcm")))


@contextmanager
def mailroom(stack: Settings, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    """Lend an inbox that is empty before and gone afterwards, and a series of 50 slices that may arrive in it."""
    shutil.rmtree(Inbox(stack.home).root)
    made = Mailroom(stack, f"Mail-{secrets.token_hex(3)}", folder / "scan")
    write_series(made.scan, slices=50, series=f"1.2.87.{secrets.randbelow(10**12)}")
    patch.setattr(orchestration, "start_flow", made.start)
    patch.setattr(orchestration, "flow_run", lambda _settings, run: FlowRun(run, made.runs[run], ""))
    yield made
    shutil.rmtree(made.inbox.root)
