"""The collector by itself: what it does when it may not collect, and when asking the archive goes wrong."""

import threading
from pathlib import Path

import pytest
from tests.unit.rounds.imaging.factories import slice_of, write

from rounds import orchestration
from rounds.inbox import counting
from rounds.inbox.collecting import Collector
from rounds.inbox.folders import Inbox, identify
from rounds.inbox.settings import Receiving
from rounds.orchestration import FlowUnavailable
from rounds.settings import Settings


def test_whoever_may_not_collect_says_so_once(tmp_path: Path) -> None:
    told: list[str] = []
    stop = threading.Event()
    collector = Collector(Settings(home=tmp_path), Receiving(quiet_seconds=0.04), told.append)
    with Inbox(tmp_path).collecting(60):
        running = threading.Thread(target=collector.run, args=(stop,))
        running.start()
        stop.wait(0.3)
        stop.set()
        running.join(10)
    assert len(told) == 1
    assert "another process" in told[0]


def test_whatever_goes_wrong_while_asking_the_quiet_period_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_what: object, **_more: object) -> None:
        raise RuntimeError("SMITH")

    def away(*_what: object, **_more: object) -> str:
        raise FlowUnavailable("away")

    monkeypatch.setattr(counting, "slices_of", broken)
    monkeypatch.setattr(orchestration, "start_flow", away)
    inbox = Inbox(tmp_path)
    draft = write(tmp_path / "draft", slice_of(1))
    inbox.deliver(draft, identify(draft), "north")
    told: list[str] = []
    receiving = Receiving(quiet_seconds=0.001, archive="http://127.0.0.1:1/dicom-web")
    with pytest.raises(FlowUnavailable):
        Collector(Settings(home=tmp_path), receiving, told.append).step()
    assert len(inbox.takings()) == 1
    assert told == [
        "the archive cannot be asked (RuntimeError): until it answers, the quiet period alone decides"
    ]
