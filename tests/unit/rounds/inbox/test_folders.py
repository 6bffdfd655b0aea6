"""The inbox on disk: whole slices once, private, and one collector at a time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.rounds.imaging.factories import slice_of, write

from rounds.inbox.folders import Inbox, NoRoom, NotASlice, identify
from rounds.inbox.model import Standing


def deliver(inbox: Inbox, number: int, site: str = "north", **change: object) -> bool:
    data = slice_of(number)
    for keyword, value in change.items():
        setattr(data, keyword, value)
    draft = write(inbox.root.parent / "draft", data)
    new = inbox.deliver(draft, identify(draft), site)
    assert not draft.exists()
    return new


def test_a_slice_counts_once_and_sites_are_kept_apart(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    assert deliver(inbox, 1)
    assert not deliver(inbox, 1)
    assert deliver(inbox, 1, PatientComments="corrected")  # another content: the gate shall see both
    assert deliver(inbox, 2)
    assert deliver(inbox, 1, "south")
    north, south = sorted(inbox.waiting(600), key=lambda one: one.site)
    assert (len(north.pile.have), len(south.pile.have)) == (2, 1)
    assert north.standing is Standing.FILLING
    assert north.key != south.key


def test_everything_is_private_and_names_are_keyed(tmp_path: Path) -> None:
    one, two = Inbox(tmp_path / "a"), Inbox(tmp_path / "b")
    for inbox in (one, two):
        deliver(inbox, 1)
        paths = [inbox.root, *inbox.root.rglob("*")]
        assert {path.stat().st_mode & 0o077 for path in paths} == {0}
    assert one.waiting(0)[0].key != two.waiting(0)[0].key
    assert Inbox(tmp_path / "a").waiting(0)[0].key == one.waiting(0)[0].key  # and stay the same


def test_the_count_of_the_header_is_believed_where_there_is_one(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    for number in (1, 2):
        deliver(inbox, number, NumberOfSeriesRelatedInstances=3)
        assert inbox.claim(600) == []
    deliver(inbox, 3)
    (lot,) = inbox.claim(600)
    assert len(list(inbox.folder_of(lot).rglob("*.dcm"))) == 3
    assert inbox.waiting(0) == []


def test_the_quiet_period_begins_anew_with_a_receiver(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    deliver(inbox, 1)
    (folder,) = (path for path in (inbox.root / "open").iterdir() if path.is_dir())
    os.utime(folder, (time.time() - 100,) * 2)
    assert [one.standing for one in inbox.waiting(60)] == [Standing.COMPLETE]
    inbox.listens()
    assert [one.standing for one in inbox.waiting(60)] == [Standing.FILLING]


def test_the_word_of_the_archive_holds_until_the_next_slice(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)

    def now() -> tuple[Standing, int | None]:
        (one,) = inbox.waiting(0, asks=True)
        return one.standing, one.pile.expected

    for number in range(3):
        deliver(inbox, number)
    assert now() == (Standing.UNASKED, None)
    inbox.heard(inbox.waiting(0)[0], 5)
    assert now() == (Standing.INCOMPLETE, 5)
    deliver(inbox, 2)  # comes again: nothing new
    assert now() == (Standing.INCOMPLETE, 5)
    deliver(inbox, 3)
    assert now() == (Standing.UNASKED, 5)
    inbox.heard(inbox.waiting(0)[0])  # no answer: what was said still makes wait
    assert now() == (Standing.INCOMPLETE, 5)
    deliver(inbox, 4)
    assert now() == (Standing.UNASKED, None)  # the archive may have more by now
    assert inbox.claim(0, asks=True) == []
    inbox.heard(inbox.waiting(0)[0], 5)
    assert len(inbox.claim(0, asks=True)) == 1


def test_an_answer_that_a_slice_overtook_counts_for_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    deliver(inbox, 0)
    (before,) = inbox.waiting(0)
    deliver(inbox, 1)
    inbox.heard(before, 1)
    assert [one.standing for one in inbox.waiting(0, asks=True)] == [Standing.UNASKED]


def test_series_that_lack_slices_are_taken_in_by_themselves_when_the_longest_wait_is_over(
    tmp_path: Path,
) -> None:
    inbox = Inbox(tmp_path)
    for series, count in (("1.2.3", None), ("1.2.4", 7), ("1.2.5", None)):
        deliver(inbox, 1, SeriesInstanceUID=series, NumberOfSeriesRelatedInstances=count)
    assert [lot.missing for lot in inbox.claim(0, longest=600)] == [None]
    assert [lot.missing for lot in inbox.claim(0, longest=0)] == [(1, 7)]
    assert sorted((len(lot.series), lot.missing) for lot in inbox.takings()) == [(1, (1, 7)), (2, None)]


def test_slices_that_come_while_their_series_is_taken_in_join_it_afterwards(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    for number in range(3):
        deliver(inbox, number)
    (lot,) = inbox.claim(0)
    deliver(inbox, 3, NumberOfSeriesRelatedInstances=1)
    assert inbox.claim(0) == []
    inbox.settle(lot, keep=True)
    (again,) = inbox.claim(0)
    assert len(list(inbox.folder_of(again).rglob("*.dcm"))) == 4


def test_what_the_disk_refuses_is_not_said_to_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom):
        deliver(inbox, 1)
    assert list(inbox.root.rglob("*.dcm")) == []


def test_files_that_are_no_slices_are_told_without_quoting_them(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"Erika Musterfrau" * 100)
    nameless = slice_of(1)
    nameless.SOPInstanceUID = ""
    for path in (tmp_path / "text", tmp_path / "absent", write(tmp_path / "nameless", nameless)):
        with pytest.raises(NotASlice) as caught:
            identify(path)
        assert "Erika" not in str(caught.value)
    assert identify(write(tmp_path / "sound", slice_of(1))).count is None


def test_one_process_collects_and_another_takes_over_when_it_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rounds.inbox.folders import Inbox\n"
        "with Inbox(Path(sys.argv[1])).collecting(7) as ours: print(ours, flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        inbox = Inbox(tmp_path)
        with inbox.collecting(9) as ours:
            assert not ours
        assert inbox.quiet_in_force(60) == 7
        other.kill()
    with inbox.collecting(9) as ours:
        assert ours
