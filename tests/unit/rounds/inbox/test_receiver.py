"""What the receiver answers, asked by a real DICOM client over a real connection."""

import logging
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association
from tests.unit.rounds.imaging.factories import slice_of, write

from rounds.inbox.folders import Inbox
from rounds.inbox.model import CLASSES, Sender
from rounds.inbox.receiver import SYNTAXES, CannotListen, Receiver
from rounds.inbox.settings import Receiving

CT, LITTLE = CLASSES[0], "1.2.840.10008.1.2.1"
SENDERS = (Sender("CT1", "127.0.0.1", "north"), Sender("CT9", "10.0.0.9", "south"))


@dataclass
class Desk:
    """A receiver that listens, its inbox, and what it told."""

    receiver: Receiver
    inbox: Inbox
    port: int
    told: list[str] = field(default_factory=list)

    def call(self, title: str = "CT1", called: str = "ROUNDS", sop_class: str = CT) -> Association:
        entity = AE(ae_title=title)
        entity.add_requested_context(sop_class, [LITTLE])
        return entity.associate("127.0.0.1", self.port, ae_title=called)

    def slices(self) -> int:
        return len(list((self.inbox.root / "open").rglob("*.dcm")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def settings() -> Receiving:
    return Receiving(port=free_port(), spare_bytes=0, max_file_bytes=2**20, associations=2)


@pytest.fixture
def desk(settings: Receiving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", False)
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    inbox = Inbox(tmp_path / "home")
    told: list[str] = []
    receiver = Receiver(settings, SENDERS, inbox, drafts, told.append)
    receiver.start()
    yield Desk(receiver, inbox, settings.port, told)
    receiver.stop()
    assert list(drafts.iterdir()) == []


def ct(folder: Path) -> pydicom.FileDataset:
    return pydicom.dcmread(write(folder / "slice.dcm", slice_of(0)))


def test_a_slice_is_stored_whole_under_a_name_that_tells_nothing(desk: Desk, tmp_path: Path) -> None:
    sent = ct(tmp_path)
    link = desk.call()
    assert link.is_established
    assert link.send_c_store(sent).Status == 0x0000
    assert link.send_c_store(sent).Status == 0x0000
    link.release()
    (path,) = (desk.inbox.root / "open").rglob("*.dcm")
    stored = pydicom.dcmread(path)
    assert stored.PixelData == sent.PixelData
    assert stored.SOPInstanceUID == sent.SOPInstanceUID
    assert path.stat().st_mode & 0o777 == 0o600
    assert desk.inbox.root.stat().st_mode & 0o777 == 0o700
    assert sent.SeriesInstanceUID not in str(path)
    assert (desk.receiver.counts.new, desk.receiver.counts.again) == (1, 1)


@pytest.mark.parametrize(("title", "called"), [("CT2", "ROUNDS"), ("CT9", "ROUNDS"), ("CT1", "OTHER")])
def test_strangers_are_rejected(desk: Desk, title: str, called: str) -> None:
    assert desk.call(title, called).is_rejected


def test_connections_that_end_without_a_word_keep_no_sender_out(desk: Desk, settings: Receiving) -> None:
    for _ in range(3 * settings.associations):
        socket.create_connection(("127.0.0.1", desk.port)).close()
    deadline = time.monotonic() + 5
    while not (link := desk.call()).is_established:
        assert time.monotonic() < deadline, "the places were not given back"
    link.release()
    assert desk.told == []


def test_other_classes_than_ct_are_not_negotiated(desk: Desk) -> None:
    assert not desk.call(sop_class="1.2.840.10008.5.1.4.1.1.4").is_established


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (Receiving(port=free_port(), spare_bytes=2**60), 0xA700),
        (Receiving(port=free_port(), spare_bytes=0, max_file_bytes=20_000), 0xC000),
    ],
)
def test_a_full_disk_and_a_slice_that_is_too_large_are_told(desk: Desk, tmp_path: Path, status: int) -> None:
    sent = ct(tmp_path)
    sent.PixelData = bytes(30_000)
    link = desk.call()
    assert link.send_c_store(sent).Status == status
    link.release()
    assert desk.slices() == 0
    assert desk.receiver.counts.refused == 1


def test_objects_that_name_no_series_or_another_class_are_refused(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = desk.call()
    nameless = ct(tmp_path)
    del nameless.SeriesInstanceUID
    assert link.send_c_store(nameless).Status == 0xC000
    other = ct(tmp_path)
    other.SOPClassUID = UID(CLASSES[1])
    other.save_as(tmp_path / "other.dcm")  # its meta header says CT, and so does the request
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    assert link.send_c_store(tmp_path / "other.dcm").Status == 0xA900
    link.release()
    assert desk.told == []
    assert desk.slices() == 0


def test_a_peer_that_announces_gigabytes_is_dropped(desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", desk.port), timeout=10) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1))
        while peer.recv(100):
            pass  # an abort may come first; the wait for the end is bounded by the timeout
    link = desk.call()
    assert link.is_established
    link.release()


def test_an_object_without_end_is_cut_off(desk: Desk, tmp_path: Path) -> None:
    sent = ct(tmp_path)
    sent.PixelData = bytes(8 * 2**20)  # eight times what is allowed
    link = desk.call()
    begun = time.monotonic()
    assert "Status" not in link.send_c_store(sent)
    assert time.monotonic() - begun < 20  # cut off, not timed out
    assert desk.slices() == 0
    written = [path.stat().st_size for path in (tmp_path / "drafts").iterdir()]
    assert max(written, default=0) < 3 * 2**20
    for path in (tmp_path / "drafts").iterdir():
        path.unlink()


def test_every_syntax_that_is_decoded_is_accepted(desk: Desk) -> None:
    entity = AE(ae_title="CT1")
    for syntax in SYNTAXES:
        entity.add_requested_context(CT, syntax)
    link = entity.associate("127.0.0.1", desk.port, ae_title="ROUNDS")
    assert {str(context.transfer_syntax[0]) for context in link.accepted_contexts} == set(SYNTAXES)
    link.release()


def test_nothing_is_logged_of_what_arrives(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        link = desk.call()
        link.send_c_store(ct(tmp_path))
        link.abort()
        time.sleep(0.2)
    assert caplog.text == ""


def test_what_aborted_associations_leave_is_removed_after_a_while(desk: Desk, tmp_path: Path) -> None:
    old, young = tmp_path / "drafts" / "tmpold.dcm", tmp_path / "drafts" / "tmpyoung.dcm"
    old.write_bytes(b"part of a slice")
    young.write_bytes(b"part of a slice")
    os.utime(old, (0, 0))
    desk.receiver.tidy()
    assert not old.exists()
    young.unlink()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_with_tls_only_clients_with_a_certificate_of_ours_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", False)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    settings = Receiving(port=free_port(), certificate=certificate, key=key, authorities=certificate)
    receiver = Receiver(settings, SENDERS, Inbox(tmp_path / "home"), tmp_path, print)
    receiver.start()
    try:
        assert not _secure(settings.port, certificate, None)
        assert _secure(settings.port, certificate, key)
        plain = AE(ae_title="CT1")
        plain.add_requested_context(CT, LITTLE)
        assert not plain.associate("127.0.0.1", settings.port).is_established
    finally:
        receiver.stop()


def _secure(port: int, certificate: Path, key: Path | None) -> bool:
    """Associate over TLS, with a client certificate where there is a key; tell whether that worked."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    if key is not None:
        context.load_cert_chain(certificate, key)
    entity = AE(ae_title="CT1")
    entity.add_requested_context(CT, LITTLE)
    link = entity.associate("127.0.0.1", port, ae_title="ROUNDS", tls_args=(context, "localhost"))
    heard = bool(link.is_established)
    if heard:
        link.release()
    return heard


def test_nobody_is_listened_to_without_senders(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="--from"):
        Receiver(Receiving(), (), Inbox(tmp_path), tmp_path, print)
