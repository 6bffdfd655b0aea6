"""The inbox and the real intake: late slices, slices sent twice, counts, failures; the flow runs without Prefect."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.mailroom import Mailroom, mailroom
from tests.integration.orthanc import wait_until
from tests.integration.receiving import cases_of, held_of
from tests.integration.scans import write_series

from rounds import orchestration
from rounds.cases import vault
from rounds.db import connect
from rounds.inbox.collecting import ATTEMPTS, Collector
from rounds.inbox.settings import Receiving
from rounds.settings import Settings

pytestmark = pytest.mark.stack


@pytest.fixture
def mail(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    with mailroom(stack, tmp_path, monkeypatch) as made:
        yield made


def test_late_slices_are_held_together_with_the_series(mail: Mailroom) -> None:
    assert mail.arrive(1, 41) == 40
    mail.collect(quiet=600)
    assert mail.runs == {}
    mail.collect()
    assert cases_of(mail.settings, mail.site) == [40]
    assert mail.arrive(36, 51) == 15
    mail.collect()
    assert cases_of(mail.settings, mail.site) == [40]
    assert held_of(mail.settings, mail.site) == [("more_slices_than_before", 50)]
    with connect(mail.settings) as conn:
        row = conn.execute("SELECT id FROM quarantine WHERE site = %s", (mail.site,)).fetchone()
    assert row is not None
    kept = vault.look(mail.settings.home, row["id"])
    assert kept is not None
    assert (len(kept.names), len(kept.copies)) == (50, 50)
    assert "series 1.2.87." in kept.names[0]  # the operator can find it in the archive
    assert mail.files() == 50
    mail.collect(keep_minutes=0)
    assert mail.files() == 0
    assert len(list(kept.copies)) == sum(path.is_file() for path in kept.copies)


def test_slices_that_come_twice_add_nothing(mail: Mailroom) -> None:
    assert mail.arrive(1, 51) == 50
    assert mail.arrive(1, 51) == 0
    mail.collect()
    assert len(mail.runs) == 1
    mail.arrive(1, 4)  # a few of them, after the series was taken in
    mail.collect()
    assert len(mail.runs) == 1
    assert mail.inbox.waiting(0) == []
    mail.arrive(1, 51)  # all of it
    mail.collect()
    assert cases_of(mail.settings, mail.site) == [50]
    assert held_of(mail.settings, mail.site) == []
    assert "1 unchanged" in mail.told[-1]


def test_late_slices_wait_where_the_others_are_gone(mail: Mailroom) -> None:
    mail.arrive(1, 41)
    mail.collect(keep_minutes=0)
    assert mail.files() == 0
    mail.arrive(41, 51)
    mail.collect(keep_minutes=0)
    assert mail.files() == 10
    assert "10 slices came after their series was taken in" in mail.told[-1]
    assert held_of(mail.settings, mail.site) == []
    mail.arrive(1, 41)
    mail.collect(keep_minutes=0)
    assert held_of(mail.settings, mail.site) == [("more_slices_than_before", 50)]
    assert cases_of(mail.settings, mail.site) == [40]


def test_the_quiet_period_begins_anew_with_whoever_collects(mail: Mailroom) -> None:
    """While a receiver was down nothing could arrive, so its silence says nothing."""
    mail.arrive(1, 31)
    time.sleep(0.5)
    stop = threading.Event()
    receiving = Receiving(quiet_seconds=0.4)
    running = threading.Thread(target=Collector(mail.settings, receiving, mail.told.append).run, args=(stop,))
    begun = time.time()
    running.start()
    wait_until(lambda: mail.runs, 10, "nothing was collected")
    assert time.time() - begun >= 0.4
    stop.set()
    running.join(10)


def test_a_count_is_waited_for_and_then_believed_at_once(mail: Mailroom) -> None:
    mail.arrive(1, 41, expected=50)
    mail.collect()
    assert mail.runs == {}
    assert "40 of 50 slices came" in mail.told[-1]
    mail.arrive(41, 51)
    mail.collect(quiet=600)
    assert cases_of(mail.settings, mail.site) == [50]


def test_nothing_is_lost_while_prefect_is_away_or_the_ingest_fails(mail: Mailroom) -> None:
    mail.arrive(1, 51)
    mail.down = True
    with pytest.raises(orchestration.FlowUnavailable):
        mail.collect()
    assert mail.files() == 50
    mail.down, mail.broken = False, True
    for _ in range(ATTEMPTS):
        mail.collect()
    (lot,) = mail.inbox.takings()
    assert lot.failed
    assert len(mail.runs) == ATTEMPTS
    assert "stay in the inbox" in mail.told[-1]
    assert mail.files() == 50
    mail.broken = False
    mail.inbox.again(lot)
    mail.collect()
    assert cases_of(mail.settings, mail.site) == [50]
    assert mail.inbox.takings() == []


def test_a_series_that_cannot_be_taken_in_holds_no_other_back(mail: Mailroom, tmp_path: Path) -> None:
    mail.arrive(1, 51)
    first, mail.scan = mail.scan, tmp_path / "other"
    write_series(mail.scan, slices=40, series="1.2.87.9" + first.parent.name[-1])
    mail.arrive(1, 41)
    mail.poison = 40
    for _ in range(ATTEMPTS):
        mail.collect()
    assert cases_of(mail.settings, mail.site) == [50]
    (lot,) = mail.inbox.takings()
    assert (lot.failed, len(lot.series)) == (True, 1)
    assert mail.files() == 50 + 40
    mail.inbox.give_up(lot)
    assert mail.inbox.takings() == []


def test_a_lot_that_a_crash_left_half_claimed_is_taken_in(mail: Mailroom) -> None:
    mail.arrive(1, 51)
    (lot,) = mail.inbox.claim(0)
    (key,) = lot.series
    (mail.inbox.folder_of(lot) / key).rename(mail.inbox.root / "open" / key)  # killed before it was moved
    mail.arrive(1, 2)
    mail.collect()
    mail.collect()
    assert cases_of(mail.settings, mail.site) == [50]
    assert mail.inbox.waiting(0) == []
    assert mail.inbox.takings() == []
