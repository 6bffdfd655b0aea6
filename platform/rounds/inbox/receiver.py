"""The DICOM receiver: C-ECHO and C-STORE of CT from senders that are known, into the inbox; it stores nothing else.

pynetdicom writes what arrives into a private folder, slice by slice, and never holds a whole one in memory. It is not
allowed to log: its messages quote what the peer sent.
"""

import logging
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from rounds.inbox.folders import Inbox, NoRoom, NotASlice, identify
from rounds.inbox.model import CLASSES, Sender, site_of
from rounds.inbox.settings import Receiving

SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit, little endian
    "1.2.840.10008.1.2",  # implicit, little endian
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.2",  # explicit, big endian
    "1.2.840.10008.1.2.4.81",  # JPEG-LS, near-lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
)
"""Every transfer syntax whose pixels are decoded, lossless ones first; the gate judges the lossy ones."""

VERIFICATION = "1.2.840.10008.1.1"
MAX_PDU = 256 * 1024
SUCCESS, OUT_OF_RESOURCES, NOT_THE_CLASS, NOT_UNDERSTOOD = (
    0x0000,
    0xA700,
    0xA900,
    0xC000,
)  # PS3.4, table B.2-1
_UNKNOWN_TITLE = (0x01, 0x01, 0x03)  # rejected for good, by the service user: calling AE title not recognized
_AT_ONCE: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it
_ABANDONED = 900.0  # seconds after which the rest of an aborted slice is removed


class CannotListen(Exception):
    """The receiver cannot start as it is configured."""


@dataclass
class Counts:
    """How many objects came and what became of them; safe to add to from several threads."""

    new: int = 0
    again: int = 0
    refused: int = 0
    strangers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, name: str) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)


class Receiver:
    """One listening Storage SCP; `drafts` is a private folder of its own on the disk of the inbox."""

    def __init__(
        self,
        receiving: Receiving,
        senders: tuple[Sender, ...],
        inbox: Inbox,
        drafts: Path,
        tell: Callable[[str], None],
    ) -> None:
        if not senders:
            raise CannotListen("nobody may send yet: name senders with --from TITLE=SITE")
        self.counts = Counts()
        self._receiving = receiving
        self._senders = senders
        self._inbox = inbox
        self._drafts = drafts
        self._tell = tell
        self._server: ThreadedAssociationServer | None = None
        self._ae = _entity(receiving)

    def start(self) -> int:
        """Listen and return the port; raise CannotListen."""
        silence()
        tempfile.tempdir = str(self._drafts)  # where pynetdicom puts what arrives
        _config.STORE_RECV_CHUNKED_DATASET = True
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, _closed),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
        ]
        where = (self._receiving.host, self._receiving.port)
        try:
            self._server = self._ae.start_server(
                where, block=False, evt_handlers=handlers, ssl_context=_encryption(self._receiving)
            )
        except (OSError, ssl.SSLError) as error:
            raise CannotListen(
                f"cannot listen on {where[0]}, port {where[1]} ({error.strerror or type(error).__name__})"
            ) from None
        return self._receiving.port

    def stop(self) -> None:
        """Stop listening; associations that are open are aborted, and their senders send again."""
        self._ae.shutdown()

    def tidy(self) -> None:
        """Remove what aborted associations left behind."""
        for path in self._drafts.glob("tmp*"):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)

    def _opened(self, event: Event) -> None:
        """Bound what one connection may make us hold: no PDU, and no object, beyond twice the limits."""
        ours: Any = event.assoc.dul.socket
        ours.recv = _Metered(ours.recv, ours.socket, 2 * self._receiving.max_file_bytes)

    def _requested(self, event: Event) -> None:
        if self._site(event) is None:
            self.counts.add("strangers")
            address = event.assoc.requestor.address
            self._tell(f"an association from {address} was refused: its AE title is not known there")
            event.assoc.acse.send_reject(*_UNKNOWN_TITLE)
            event.assoc.kill()  # returns when the rejection is on its way

    def _site(self, event: Event) -> str | None:
        requestor = event.assoc.requestor
        title = getattr(requestor.primitive, "calling_ae_title", "")
        return site_of(self._senders, str(title), str(requestor.address))

    def _stored(self, event: Event) -> int:
        """Take one object in and return the status for its sender; nothing of it is in any message."""
        path = event.dataset_path
        try:
            status = self._deliver(event, path)
        except Exception as error:
            status = OUT_OF_RESOURCES
            self._tell(f"an object could not be stored ({type(error).__module__}.{type(error).__name__})")
        finally:
            path.unlink(missing_ok=True)
            meter = getattr(event.assoc.dul.socket, "recv", None)
            if isinstance(meter, _Metered):
                meter.reset()
        if status != SUCCESS:
            self.counts.add("refused")
        return status

    def _deliver(self, event: Event, path: Path) -> int:
        size = path.stat().st_size
        if size > self._receiving.max_file_bytes:
            self._tell(f"an object of {size // 2**20} MiB was refused: larger than any slice")
            return NOT_UNDERSTOOD
        if shutil.disk_usage(self._inbox.root).free < self._receiving.spare_bytes + size:
            self._tell("an object was refused: the disk has too little room left")
            return OUT_OF_RESOURCES
        try:
            who = identify(path)
        except NotASlice:
            return NOT_UNDERSTOOD
        if who.sop_class != str(event.context.abstract_syntax):
            return NOT_THE_CLASS
        try:
            new = self._inbox.deliver(path, who, str(self._site(event)))
        except NoRoom:
            return OUT_OF_RESOURCES
        self.counts.add("new" if new else "again")
        return SUCCESS


class _Metered:
    """A socket's `recv` that gives up on a peer that sends without end, and that never lets a peer wait.

    Senders wait for the acknowledgement of a command before they send the slice: put off by the usual 40 ms, that is
    most of the time that a slice takes.
    """

    def __init__(self, recv: Callable[[int], bytearray], wire: socket.socket, most: int) -> None:
        self._recv = recv
        self._wire = wire
        self._most = most
        self._seen = 0

    def __call__(self, count: int) -> bytearray:
        self._seen += count
        if count > 2 * MAX_PDU or self._seen > self._most:
            raise ConnectionAbortedError("more than any object has")
        if _AT_ONCE is not None:
            self._wire.setsockopt(socket.IPPROTO_TCP, _AT_ONCE, 1)
        return self._recv(count)

    def reset(self) -> None:
        self._seen = 0


def _closed(event: Event) -> None:
    """Give the place of a connection back that ended before it asked for anything, as health checks do.

    pynetdicom would wait for its request until the timeout, and so a few of them would keep every sender out.
    """
    if event.assoc.requestor.primitive is None:
        waited_for: Any = event.assoc.dul.to_user_queue
        waited_for.put(None)


def silence() -> None:
    """Keep pynetdicom and pydicom from logging: they quote what peers send."""
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        log = logging.getLogger(name)
        log.setLevel(logging.CRITICAL + 1)
        log.propagate = False


def _entity(receiving: Receiving) -> AE:
    entity = AE(ae_title=receiving.ae_title)
    entity.require_called_aet = True
    entity.maximum_associations = receiving.associations
    entity.maximum_pdu_size = MAX_PDU
    entity.network_timeout = 60
    entity.acse_timeout = 30
    entity.dimse_timeout = 60
    entity.add_supported_context(VERIFICATION)
    for uid in CLASSES:
        entity.add_supported_context(uid, list(SYNTAXES))
    return entity


def _encryption(receiving: Receiving) -> ssl.SSLContext | None:
    """Return what TLS needs where a certificate is configured; with authorities, clients must show theirs."""
    if receiving.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=receiving.authorities)
    context.load_cert_chain(receiving.certificate, receiving.key)
    if receiving.authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
