"""C-STORE on the real stack, from dcmtk's clients and from Orthanc: each series becomes one case, once, when whole."""

import json
import secrets
import signal
from pathlib import Path

import pydicom
import pytest
from tests.integration.orthanc import archive, needs_clients, needs_orthanc
from tests.integration.receiving import cases_of, held_of, receiving
from tests.integration.scans import SECRETS, write_series
from tests.integration.test_ingest import places_with

from rounds.inbox.folders import Inbox
from rounds.settings import Settings

pytestmark = [pytest.mark.stack, needs_clients]
SLICES = 40


def series(folder: Path, slices: int = SLICES) -> list[Path]:
    """Write a series with a UID of its own and return its files in the order of their places."""
    write_series(folder, slices=slices, series=f"1.2.88.{secrets.randbelow(10**12)}")
    files = sorted(folder.glob("*.dcm"))
    return sorted(files, key=lambda path: int(pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber))


@needs_orthanc
def test_whatever_happens_on_the_way_each_series_becomes_one_case(stack: Settings, tmp_path: Path) -> None:
    one, two, three, four = (series(tmp_path / f"MUSTERFRAU-{number}") for number in range(4))
    site = f"Net-{secrets.token_hex(3)}"
    with archive(tmp_path / "archive") as orthanc, receiving(stack, site, tmp_path / "log", 8) as net:
        orthanc.add(four[0].parent)
        orthanc.ask("PUT", "/modalities/rounds", {"AET": "ROUNDS", "Host": "127.0.0.1", "Port": net.port})
        orthanc.ask("POST", "/modalities/rounds/echo", {})
        mixed = [path for pair in zip(one[:30], two[:30], strict=True) for path in pair]
        assert net.send("storescu", *mixed) == 0  # interleaved
        net.break_off(three[:25])  # in mid-series
        net.stop(signal.SIGKILL)
        assert net.waiting() == 85
        net.start()
        assert net.send("dcmsend", *two[20:], *one[20:], *one[:5]) == 0  # some for the second time
        assert net.send("storescu", *three[20:]) == 0
        orthanc.ask("POST", "/modalities/rounds/store", list(orthanc.series()))
        assert net.waiting() == 4 * SLICES
        assert net.send("echoscu", title="STRANGER") != 0
        assert net.send("storescu", one[0], title="STRANGER") != 0
        names = [str(path) for path in Inbox(stack.home).root.rglob("*")]
        net.wait_settled()
        assert cases_of(stack, site) == [SLICES] * 4
        assert held_of(stack, site) == []
        net.stop()
        told = net.log.read_text()
    assert json.loads(told.splitlines()[-1]) == {"new": 75, "again": 30, "refused": 0, "strangers": 2}
    wanted = [*SECRETS.values(), "MUSTERFRAU", "1.2.88", "STRANGER"]
    assert [value for value in wanted if value in told or any(value in name for name in names)] == []
    needles = {value.encode() for value in wanted[:-2]}
    assert [place for place in places_with(stack, needles) if not place.startswith("file spool/")] == []
