"""Asking an archive how many slices a series has: what counts, and archives that answer badly over DICOM."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]

from rounds.inbox import querying
from rounds.inbox.archive import ArchiveFailed
from rounds.inbox.counting import asked, check, slices_of
from rounds.inbox.folders import Identity
from rounds.inbox.model import CLASSES, BadArchive
from rounds.inbox.settings import Receiving

STUDY, SERIES = "1.2.77.1", "1.2.77.2"
SCREEN = "1.2.840.10008.5.1.4.1.1.7"


@dataclass
class Told:
    """An archive that says one number and lists another."""

    number: int | None
    instances: int = 0
    asked: list[str] = field(default_factory=list)

    def told(self, study: str, series: str) -> int | None:
        self.asked.append(f"{study} {series}")
        return self.number

    def listed(self, _study: str, _series: str) -> int:
        self.asked.append("all")
        return self.instances


def who(study: str = STUDY, series: str = SERIES) -> Identity:
    return Identity(CLASSES[0], "1.2.77.3", study, series)


@pytest.mark.parametrize(
    ("number", "instances", "slices", "questions"),
    [
        (None, 9, None, 1),
        (40, 9, 40, 1),
        (39, 9, 39, 1),
        (41, 40, 40, 2),  # one of them is a screenshot
        (41, 0, 41, 2),  # it lists nothing
        (0, 41, 41, 2),
        (0, 0, None, 2),
    ],
)
def test_instances_are_listed_only_where_the_number_says_too_little_or_too_much(
    number: int | None, instances: int, slices: int | None, questions: int
) -> None:
    archive = Told(number, instances)
    assert slices_of(archive, who(), 40) == slices
    assert len(archive.asked) == questions


@pytest.mark.parametrize(
    ("study", "series"), [("", SERIES), ("*", SERIES), (STUDY, "1.2/../3"), (STUDY, "1\\2")]
)
def test_nothing_but_uids_is_asked_for(study: str, series: str) -> None:
    archive = Told(40)
    assert slices_of(archive, who(study, series), 3) is None
    assert archive.asked == []


@pytest.mark.parametrize(
    ("archive", "secret"),
    [
        ("PACS", False),
        ("ftp://pacs.example/", False),
        ("https://me:mine@pacs.example/", False),
        ("http://pacs.example/dicom-web", True),
    ],
)
def test_archives_that_could_never_be_asked_are_told_at_the_start(
    archive: str, secret: bool, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("me:mine\n")
    with pytest.raises(BadArchive) as caught:
        check(Receiving(archive=archive, archive_credentials=tmp_path / "secret" if secret else None))
    assert "mine" not in str(caught.value)


def test_credentials_that_are_not_there_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="CREDENTIALS"):
        check(Receiving(archive="https://pacs.example/", archive_credentials=tmp_path / "none"))


@contextmanager
def scp(answers: Callable[[Dataset], Iterator[tuple[int, Dataset | None]]]) -> Iterator[Receiving]:
    """Run an archive that answers queries as told, and lend the settings that name it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    entity = AE(ae_title="PACS")
    entity.add_supported_context(Find)
    entity.network_timeout = 30
    handlers: list[Any] = [(evt.EVT_C_FIND, lambda event: answers(event.identifier))]
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield Receiving(archive=f"PACS@127.0.0.1:{port}")
    finally:
        entity.shutdown()


def answer(**told: object) -> Dataset:
    made = Dataset()
    for keyword, value in told.items():
        setattr(made, keyword, value)
    return made


def ask(receiving: Receiving) -> tuple[int | None, int]:
    with asked(receiving) as archive:
        return archive.told(STUDY, SERIES), archive.listed(STUDY, SERIES)


def test_an_archive_is_asked_for_one_series_and_other_series_and_classes_do_not_count() -> None:
    queries: list[tuple[str, str, str]] = []

    def answers(query: Dataset) -> Iterator[tuple[int, Dataset | None]]:
        queries.append((query.QueryRetrieveLevel, query.StudyInstanceUID, query.SeriesInstanceUID))
        if query.QueryRetrieveLevel == "SERIES":
            yield 0xFF00, answer(SeriesInstanceUID="1.2.9", NumberOfSeriesRelatedInstances=99)
            yield 0xFF01, answer(SeriesInstanceUID=SERIES, NumberOfSeriesRelatedInstances=3)
        else:
            for number in (1, 2, 2):
                yield (
                    0xFF00,
                    answer(SeriesInstanceUID=SERIES, SOPInstanceUID=f"1.2.{number}", SOPClassUID=CLASSES[0]),
                )
            yield 0xFF00, answer(SeriesInstanceUID=SERIES, SOPInstanceUID="1.2.8", SOPClassUID=SCREEN)
            yield 0xFF00, answer(SeriesInstanceUID=SERIES, SOPInstanceUID="1.2.3")

    with scp(answers) as receiving:
        assert ask(receiving) == (3, 3)
    assert queries == [("SERIES", STUDY, SERIES), ("IMAGE", STUDY, SERIES)]


@pytest.mark.parametrize("number", ["-3", "99999999999999", "12.5"])
def test_a_number_that_is_none_is_not_believed(number: str) -> None:
    def answers(query: Dataset) -> Iterator[tuple[int, Dataset | None]]:
        if query.QueryRetrieveLevel == "SERIES":
            found = answer(SeriesInstanceUID=SERIES)
            found.add_new(0x00201209, "LO", number)
            yield 0xFF00, found

    with scp(answers) as receiving:
        assert ask(receiving) == (0, 0)


def refusing(_query: Dataset) -> Iterator[tuple[int, Dataset | None]]:
    yield 0xA700, None


def endless(_query: Dataset) -> Iterator[tuple[int, Dataset | None]]:
    while True:
        yield 0xFF00, answer(SeriesInstanceUID=SERIES, PatientName="SMITH")


def silent(_query: Dataset) -> Iterator[tuple[int, Dataset | None]]:
    time.sleep(3)
    yield 0x0000, None


@pytest.mark.parametrize(
    ("answers", "wrong"), [(refusing, "0xA700"), (endless, "no end"), (silent, "breaks off")]
)
def test_no_archive_makes_us_wait_for_ever_and_nothing_of_it_is_logged(
    answers: Callable[[Dataset], Iterator[tuple[int, Dataset | None]]],
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(querying, "MOST", 20)
    monkeypatch.setattr(querying, "ANSWER_SECONDS", 1)
    with (
        scp(answers) as receiving,
        caplog.at_level(logging.DEBUG),
        pytest.raises(ArchiveFailed, match=wrong) as caught,
    ):
        ask(receiving)
    assert not any(word in str(caught.value) + caplog.text for word in ("SMITH", SERIES, STUDY))


def test_an_archive_that_is_down_or_speaks_no_dicom_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querying, "CONNECT_SECONDS", 1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        place = f"PACS@127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ArchiveFailed, match="does not answer"):
            ask(Receiving(archive=place))  # nobody listens
        mute.listen()
        with pytest.raises(ArchiveFailed, match="does not answer"):
            ask(Receiving(archive=place))  # somebody listens and never speaks
    with pytest.raises(ArchiveFailed, match="does not answer"):
        ask(Receiving(archive="PACS@nowhere.invalid:104"))
