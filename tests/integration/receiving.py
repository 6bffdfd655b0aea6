"""Receiving as an operator runs it: `rounds receive` in a process of its own, and dcmtk's clients that send to it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pynetdicom import AE
from tests.integration.orthanc import free_port, wait_until

from rounds.db import connect
from rounds.inbox.folders import Inbox
from rounds.settings import Settings

TITLE = "SCANNER"
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class Receiving:
    """A receiver that may be killed and started again on its port."""

    settings: Settings
    site: str
    log: Path
    port: int
    quiet: float
    archive: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {**os.environ, "ROUNDS_HOME": str(self.settings.home)}
        command = [
            sys.executable, "-m", "rounds", "receive", "--from", f"{TITLE}={self.site}",
            "--from", f"ARCHIVE@127.0.0.1={self.site}", "--port", str(self.port), "--quiet", str(self.quiet),
            "--json", *(["--archive", self.archive] if self.archive else []),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        wait_until(lambda: self.send("echoscu") == 0, 30, "the receiver does not answer")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(40)
            self.process = None

    def send(self, client: str, *files: Path | str, title: str = TITLE) -> int:
        """Run one of dcmtk's clients against the receiver; return its exit code."""
        command = [client, "-aet", title, "-aec", "ROUNDS", "127.0.0.1", str(self.port), *map(str, files)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def break_off(self, files: Sequence[Path]) -> None:
        """Send files and abort the association where the next one would come."""
        entity = AE(ae_title=TITLE)
        entity.add_requested_context(CT, "1.2.840.10008.1.2.1")
        link = entity.associate("127.0.0.1", self.port, ae_title="ROUNDS")
        assert link.is_established
        for path in files:
            assert link.send_c_store(pydicom.dcmread(path)).Status == 0
        link.abort()

    def waiting(self) -> int:
        """Return how many slices lie in the inbox and wait."""
        return len(list((Inbox(self.settings.home).root / "open").rglob("*.dcm")))

    def wait_settled(self) -> None:
        """Wait until nothing is waiting or being taken in."""
        inbox = Inbox(self.settings.home)
        wait_until(lambda: not inbox.waiting(0) and not inbox.takings(), 180, self.log.read_text())


@contextmanager
def receiving(
    settings: Settings, site: str, log: Path, quiet: float, archive: str | None = None
) -> Iterator[Receiving]:
    """Run a receiver for a site, with an inbox that is empty before and gone afterwards."""
    shutil.rmtree(Inbox(settings.home).root)
    made = Receiving(settings, site, log, free_port(), quiet, archive)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(Inbox(settings.home).root)


def cases_of(settings: Settings, site: str) -> Sequence[int]:
    """Return the slices of each case of a site, in the order in which they came in."""
    with connect(settings) as conn:
        rows = conn.execute("SELECT source_slices FROM cases WHERE site = %s ORDER BY id", (site,))
        return [int(row["source_slices"]) for row in rows]


def held_of(settings: Settings, site: str) -> Sequence[tuple[str, int]]:
    """Return reason and number of files of a site's scans in quarantine."""
    with connect(settings) as conn:
        rows = conn.execute("SELECT reason, file_count FROM quarantine WHERE site = %s ORDER BY id", (site,))
        return [(str(row["reason"]), int(row["file_count"])) for row in rows]
