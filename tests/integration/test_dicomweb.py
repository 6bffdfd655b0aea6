"""DICOMweb with a real archive: Orthanc stores into the running service, and `rounds pull` fetches from Orthanc."""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from tests.integration.mailroom import Mailroom, mailroom
from tests.integration.orthanc import Orthanc, archive, free_port, needs_orthanc, wait_until
from tests.integration.receiving import cases_of, held_of
from tests.integration.scans import SECRETS, write_series

from rounds.app import create_app
from rounds.db import connect
from rounds.people import store as people
from rounds.people.model import Role
from rounds.settings import Settings

pytestmark = pytest.mark.stack
EMAIL = "pacs@hospital.example"
BOUNDARY = "frontier-4711"
STOW = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@pytest.fixture
def mail(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    with mailroom(stack, tmp_path, monkeypatch) as made:
        monkeypatch.setenv("ROUNDS_RECEIVE_SENDERS", json.dumps({f"@{EMAIL}": made.site}))
        monkeypatch.setenv("ROUNDS_RECEIVE_QUIET_SECONDS", "2")
        yield made


def token_for(settings: Settings, email: str, role: Role) -> str:
    with connect(settings) as conn, conn.transaction():
        person = people.add(conn, "test", email, email, [role], secrets.token_hex(8))
        return people.issue_token(conn, "test", person, timedelta(days=1))


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Run the service under uvicorn, on a free port, in a thread."""
    port = free_port()
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 20, "the service does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with archive(tmp_path_factory.mktemp("orthanc") / "archive") as running:
        yield running


def body_of(*parts: bytes, end: str = "--") -> bytes:
    start = f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(start + part for part in parts) + f"\r\n--{BOUNDARY}{end}\r\n".encode()


@needs_orthanc
def test_orthanc_stores_into_the_service(mail: Mailroom, orthanc: Orthanc) -> None:
    orthanc.add(mail.scan)
    token = token_for(mail.settings, EMAIL, Role.SENDER)
    with served(mail.settings) as address:
        peer = {"Url": f"{address}/api/dicomweb/", "HttpHeaders": {"Authorization": f"Bearer {token}"}}
        orthanc.ask("PUT", "/dicom-web/servers/rounds", peer)
        stored = orthanc.ask("POST", "/dicom-web/servers/rounds/stow", {"Resources": list(orthanc.series())})
        assert int(stored["InstancesCount"]) == 50
        wait_until(lambda: cases_of(mail.settings, mail.site), 60, "no case was made")
        wait_until(lambda: mail.inbox.takings() == [], 10, "it is not cleared away")
    assert cases_of(mail.settings, mail.site) == [50]
    assert held_of(mail.settings, mail.site) == []
    for one in orthanc.series():
        orthanc.ask("DELETE", f"/series/{one}")


def test_answers_tell_which_objects_were_stored_and_which_failed(mail: Mailroom) -> None:
    slices = [path.read_bytes() for path in sorted(mail.scan.glob("*.dcm"))[:3]]
    other = slices[0].replace(b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.4")
    head = {"Authorization": f"Bearer {token_for(mail.settings, EMAIL, Role.SENDER)}", "Content-Type": STOW}
    with TestClient(create_app(mail.settings)) as client:

        def stow(body: bytes, where: str = "") -> tuple[int, dict[str, Any]]:
            answer = client.post(f"/api/dicomweb/studies{where}", content=body, headers=head)
            return answer.status_code, answer.json()

        status, told = stow(body_of(*slices))
        assert (status, set(told)) == (200, {"00081199"})
        assert len(told["00081199"]["Value"]) == 3
        status, told = stow(body_of(slices[0], other, b"no DICOM at all"))
        assert (status, set(told)) == (202, {"00081199", "00081198", "0008119A"})
        (failed,) = told["00081198"]["Value"]
        assert failed["00081197"] == {"vr": "US", "Value": [0x0122]}
        status, told = stow(body_of(slices[1]), "/1.2.3")
        assert status == 409
        assert told["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
        assert stow(body_of(slices[1]), f"/{SECRETS['StudyInstanceUID']}")[0] == 200
        assert stow(body_of(slices[1], end=""))[0] == 400
        assert stow(b"")[0] == 400
        assert len(mail.inbox.waiting(600)[0].pile.have) == 3


def test_only_senders_store_and_only_bodies_of_dicom(mail: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of(next(iter(mail.scan.glob("*.dcm"))).read_bytes())
    with TestClient(create_app(mail.settings)) as client:

        def stow(token: str, kind: str = STOW) -> int:
            head = {"Authorization": f"Bearer {token}", "Content-Type": kind}
            status: int = client.post("/api/dicomweb/studies", content=body, headers=head).status_code
            return status

        sender = token_for(mail.settings, EMAIL, Role.SENDER)
        assert stow("nonsense") == 401
        assert stow(token_for(mail.settings, "eve@hospital.example", Role.ENGINEER)) == 403
        assert stow(token_for(mail.settings, "other@hospital.example", Role.SENDER)) == 403  # of no site
        assert stow(sender, "application/dicom") == 415
        assert stow(sender, 'multipart/related; type="image/jpeg"; boundary=x') == 415
        assert mail.inbox.waiting(0) == []
        monkeypatch.setenv("ROUNDS_RECEIVE_SPARE_BYTES", str(2**60))
        assert stow(sender) == 503
        monkeypatch.setenv("ROUNDS_RECEIVE_SPARE_BYTES", "0")
        monkeypatch.setenv("ROUNDS_RECEIVE_MAX_FILE_BYTES", "1000")
        assert stow(sender) == 409
        assert mail.inbox.waiting(0) == []
        assert list((mail.settings.home / "scratch").glob("*/part*")) == []


@needs_orthanc
def test_pull_takes_what_is_asked_for_once(stack: Settings, orthanc: Orthanc, tmp_path: Path) -> None:
    number, site = secrets.randbelow(10**9), f"Pull-{secrets.token_hex(3)}"
    for index in range(2):
        write_series(tmp_path / str(index), slices=40, series=f"1.2.86.{number}.{index}")
    orthanc.add(tmp_path)

    def pull(*words: str, stdin: str = "") -> tuple[int, dict[str, Any], str]:
        command = ["pull", "--from", f"{orthanc.http}/dicom-web", "--site", site, "--json", *words]
        done = subprocess.run(
            [sys.executable, "-m", "rounds", *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ROUNDS_HOME": str(stack.home)},
        )
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    status, told, wrong = pull("--accessions", "-", stdin=f"{SECRETS['AccessionNumber']}\nNOBODYS-1\n")
    assert (status, wrong) == (0, "")
    assert (told["found"], told["absent"], len(told["accepted"]), told["failed"]) == (2, 1, 2, [])
    assert cases_of(stack, site) == [40, 40]
    status, told, _ = pull("--since", "2020-02-01", "--until", "2020-02-28")
    assert (told["found"], told["absent"], told["known"], told["accepted"]) == (2, 0, 2, [])
    assert list((stack.home / "scratch").glob("*/lot")) == []
