"""A real archive: Orthanc of Debian's packages on free ports, with its DICOMweb plugin and a storage of its own."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
CLIENTS = ("storescu", "dcmsend", "dcmqrscp")

needs_clients = pytest.mark.skipif(
    any(shutil.which(name) is None for name in CLIENTS), reason="dcmtk is not installed (Debian: dcmtk)"
)


def plugin() -> Path | None:
    """Return the DICOMweb plugin where Debian puts it."""
    found = [path for folder in PLUGINS for path in Path(folder).glob("libOrthancDicomWeb.so*")]
    return found[0] if found else None


needs_orthanc = pytest.mark.skipif(
    shutil.which("Orthanc") is None or plugin() is None,
    reason="Orthanc is not installed (Debian: orthanc, orthanc-dicomweb)",
)


@dataclass(frozen=True)
class Orthanc:
    """A running archive."""

    http: str
    dicom_port: int

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.http}{path}", json=body, timeout=60, trust_env=False)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def add(self, folder: Path) -> None:
        """Put the files of a folder into the archive."""
        with httpx.Client(base_url=self.http, trust_env=False) as client:
            for path in sorted(folder.rglob("*.dcm")):
                client.post("/instances", content=path.read_bytes()).raise_for_status()

    def series(self) -> Sequence[str]:
        found: list[str] = self.ask("GET", "/series")
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def archive(folder: Path) -> Iterator[Orthanc]:
    """Run an archive that keeps everything under `folder`, and stop it."""
    folder.mkdir()
    http, dicom = free_port(), free_port()
    config = {
        "Name": "Archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ARCHIVE",
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{http}"
        wait_until(lambda: answers(f"{address}/system"), 30, "Orthanc does not answer")
        yield Orthanc(address, dicom)
    finally:
        running.terminate()
        running.wait(20)


@contextmanager
def plain_archive(folder: Path, scan: Path) -> Iterator[str]:
    """Run dcmtk's archive with the files of a scan in it, which tells no counts; yield TITLE@HOST:PORT."""
    (folder / "storage").mkdir(parents=True)
    port = free_port()
    (folder / "config").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 8\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPLAIN {folder / 'storage'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(["dcmqrscp", "-c", str(folder / "config")], stdout=log, stderr=log)
    try:
        there = ["-aec", "PLAIN", "127.0.0.1", str(port)]
        wait_until(lambda: subprocess.run(["echoscu", *there], check=False).returncode == 0, 20, "no archive")
        subprocess.run(["storescu", *there, *map(str, sorted(scan.glob("*.dcm")))], check=True)
        yield f"PLAIN@127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


def answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False, timeout=2).is_success
    except httpx.HTTPError:
        return False


def wait_until(done: Any, seconds: float, otherwise: str) -> Any:
    """Ask until the answer is true and return it; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
    return found
