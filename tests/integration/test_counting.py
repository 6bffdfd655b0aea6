"""Series whose count an archive tells: Orthanc over C-FIND and QIDO-RS, dcmtk's archive, archives that are no help."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.uid import UID
from tests.integration.mailroom import Mailroom, mailroom
from tests.integration.orthanc import (
    Orthanc,
    archive,
    free_port,
    needs_clients,
    needs_orthanc,
    plain_archive,
    wait_until,
)
from tests.integration.receiving import cases_of, held_of, receiving
from tests.integration.test_dicomweb import EMAIL, STOW, body_of, served, token_for
from tests.integration.test_receive import series

from rounds.db import connect
from rounds.inbox import counting
from rounds.inbox.folders import Identity
from rounds.people.model import Role
from rounds.settings import Settings
from rounds.trail.store import history

pytestmark = pytest.mark.stack
WAYS = ["C-FIND", "QIDO-RS"]
SCREEN = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def mail(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    with mailroom(stack, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with archive(tmp_path_factory.mktemp("orthanc") / "archive") as running:
        yield running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each question about a series."""
    questions: list[int] = []
    original = counting.slices_of

    def counted(link: counting.Counts, who: Identity, have: int) -> int | None:
        questions.append(have)
        return original(link, who, have)

    monkeypatch.setattr(counting, "slices_of", counted)
    return questions


def place_of(orthanc: Orthanc, way: str) -> str:
    return f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}" if way == "C-FIND" else f"{orthanc.http}/dicom-web"


@needs_orthanc
@pytest.mark.parametrize("way", WAYS)
def test_late_slices_are_waited_for_where_the_archive_has_more(
    mail: Mailroom, orthanc: Orthanc, asked: list[int], way: str
) -> None:
    place = place_of(orthanc, way)
    orthanc.add(mail.scan)
    mail.arrive(1, 41)
    mail.collect(quiet=600, archive=place)
    assert asked == []  # slices may still be on their way
    for _ in range(2):
        mail.collect(archive=place)
        mail.arrive(1, 41)  # twice
    assert asked == [40]
    assert mail.runs == {}
    assert "40 of 50 slices came" in mail.told[-1]
    mail.arrive(41, 51)
    mail.collect(quiet=600, archive=place)
    assert mail.runs == {}  # the archive may have more by now
    mail.collect(archive=place)
    assert asked == [40, 50]
    assert cases_of(mail.settings, mail.site) == [50]
    mail.arrive(1, 51)  # all of it once more
    mail.collect(archive=place)
    assert cases_of(mail.settings, mail.site) == [50]
    assert held_of(mail.settings, mail.site) == []
    assert "1.2.87" not in "".join(mail.told)


@needs_orthanc
@pytest.mark.parametrize("way", WAYS)
def test_the_longest_wait_ends_and_the_trail_says_so(mail: Mailroom, orthanc: Orthanc, way: str) -> None:
    orthanc.add(mail.scan)
    mail.arrive(1, 41)
    mail.collect(archive=place_of(orthanc, way))
    assert mail.runs == {}
    mail.collect(archive=place_of(orthanc, way), longest_wait_minutes=1e-6)
    assert cases_of(mail.settings, mail.site) == [40]
    assert "with 40 of 50 slices: 1 cases" in mail.told[-1]
    with connect(mail.settings) as conn:
        row = conn.execute("SELECT id FROM cases WHERE site = %s", (mail.site,)).fetchone()
        assert row is not None
        (event,) = [one for one in history(conn, "case", row["id"]) if one.action == "take_in_part"]
    assert (event.reason, event.detail) == ("40 of 50 slices came", {"came": 40, "expected": 50})
    mail.arrive(41, 51)  # later than that
    mail.collect(archive=place_of(orthanc, way))
    assert held_of(mail.settings, mail.site) == [("more_slices_than_before", 50)]


@needs_orthanc
@pytest.mark.parametrize("way", WAYS)
def test_objects_that_are_never_received_are_not_waited_for(
    mail: Mailroom, orthanc: Orthanc, way: str, tmp_path: Path
) -> None:
    screen = pydicom.dcmread(next(iter(mail.scan.glob("*.dcm"))))
    screen.SOPClassUID = screen.file_meta.MediaStorageSOPClassUID = UID(SCREEN)
    screen.SOPInstanceUID = screen.file_meta.MediaStorageSOPInstanceUID = UID(f"{screen.SOPInstanceUID}.9")
    (tmp_path / "screens").mkdir()
    screen.save_as(tmp_path / "screens" / "screen.dcm")
    orthanc.add(mail.scan)
    orthanc.add(tmp_path / "screens")
    mail.arrive(1, 51)
    mail.collect(archive=place_of(orthanc, way))
    assert cases_of(mail.settings, mail.site) == [50]


@needs_clients
def test_slices_are_counted_where_the_archive_tells_no_number(mail: Mailroom, tmp_path: Path) -> None:
    with plain_archive(tmp_path / "plain", mail.scan) as place:
        mail.arrive(1, 41)
        mail.collect(archive=place)
        assert mail.runs == {}
        assert "40 of 50 slices came" in mail.told[-1]
        mail.arrive(41, 51)
        mail.collect(archive=place)
    assert cases_of(mail.settings, mail.site) == [50]


@needs_orthanc
@pytest.mark.parametrize("way", WAYS)
def test_the_quiet_period_decides_where_the_archive_does_not_know_the_series(
    mail: Mailroom, orthanc: Orthanc, asked: list[int], way: str
) -> None:
    mail.arrive(1, 41)
    mail.collect(archive=place_of(orthanc, way))
    assert asked == [40]
    assert cases_of(mail.settings, mail.site) == [40]
    assert "does not know series" in mail.told[0]
    assert "1.2.87" not in "".join(mail.told)


@pytest.mark.parametrize("place", ["ARCHIVE@127.0.0.1:{port}", "http://127.0.0.1:{port}/dicom-web"])
def test_the_quiet_period_decides_while_the_archive_is_down(mail: Mailroom, place: str) -> None:
    mail.arrive(1, 41)
    mail.collect(archive=place.format(port=free_port()))
    assert cases_of(mail.settings, mail.site) == [40]
    assert [line for line in mail.told if "the archive does not answer" in line] == mail.told[:1]


@needs_orthanc
def test_an_answer_outlives_the_archive(mail: Mailroom, orthanc: Orthanc) -> None:
    """What was said to lack slices is not taken in because the archive has gone away since."""
    orthanc.add(mail.scan)
    mail.arrive(1, 41)
    mail.collect(archive=place_of(orthanc, "C-FIND"))
    mail.arrive(41, 46)
    mail.collect(archive=f"ARCHIVE@127.0.0.1:{free_port()}")
    assert mail.runs == {}
    assert "45 of 50 slices came" in mail.told[-1]


@needs_orthanc
@needs_clients
def test_a_receiver_asks_the_archive_that_it_is_told(
    stack: Settings, orthanc: Orthanc, tmp_path: Path
) -> None:
    files = series(tmp_path / "MUSTERFRAU")
    orthanc.add(files[0].parent)
    site, place = f"Ask-{files[0].stat().st_ino}", place_of(orthanc, "C-FIND")
    with receiving(stack, site, tmp_path / "log", 2, archive=place) as net:
        assert net.send("storescu", *files[:30]) == 0
        wait_until(lambda: "30 of 40 slices came" in net.log.read_text(), 30, "the archive was not asked")
        assert net.send("dcmsend", *files[20:]) == 0
        net.wait_settled()
        net.stop()
        told = net.log.read_text()
    assert cases_of(stack, site) == [40]
    assert held_of(stack, site) == []
    assert json.loads(told.splitlines()[-1])["again"] == 10
    assert not any(word in told for word in ("MUSTERFRAU", "1.2.88"))


@needs_orthanc
def test_the_service_asks_it_about_what_was_stored_over_http(
    mail: Mailroom, orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc.add(mail.scan)
    monkeypatch.setenv("ROUNDS_RECEIVE_SENDERS", json.dumps({f"@{EMAIL}": mail.site}))
    monkeypatch.setenv("ROUNDS_RECEIVE_QUIET_SECONDS", "1")
    monkeypatch.setenv("ROUNDS_RECEIVE_ARCHIVE", place_of(orthanc, "QIDO-RS"))
    slices = [path.read_bytes() for path in sorted(mail.scan.glob("*.dcm"))]
    head = {"Authorization": f"Bearer {token_for(mail.settings, EMAIL, Role.SENDER)}", "Content-Type": STOW}
    with served(mail.settings) as address, httpx.Client(headers=head, trust_env=False) as client:

        def stow(parts: list[bytes]) -> None:
            client.post(f"{address}/api/dicomweb/studies", content=body_of(*parts)).raise_for_status()

        stow(slices[:40])
        wait_until(lambda: mail.inbox.waiting(0)[0].pile.expected == 50, 20, "the archive was not asked")
        stow(slices[40:])
        wait_until(lambda: cases_of(mail.settings, mail.site), 60, "no case was made")
        wait_until(lambda: mail.inbox.takings() == [], 10, "it is not cleared away")
    assert cases_of(mail.settings, mail.site) == [50]
