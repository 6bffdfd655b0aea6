"""Ingest on the real stack: real scans, nothing of who the patients are anywhere, and a worker killed half-way."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.integration.scans import SECRETS, write_series

from rounds.cases import holding, spool, store
from rounds.cases.archive import unpack
from rounds.db import connect
from rounds.imaging.nifti import decode_volume
from rounds.objects import ObjectStore
from rounds.orchestration import start_flow
from rounds.settings import Settings
from rounds.stack import status, up

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "covid-ct-md"

pytestmark = pytest.mark.stack


def rounds(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `rounds` as an operator would."""
    env = {**os.environ, "ROUNDS_HOME": str(settings.home)}
    return subprocess.run(
        [sys.executable, "-m", "rounds", *words], capture_output=True, text=True, env=env, check=False
    )


def ingest(settings: Settings, path: Path, site: str, *more: str) -> dict[str, Any]:
    done = rounds(settings, "ingest", str(path), "--site", site, "--json", *more)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared real scans are not here")
def test_real_scans_become_two_cases_with_z_in_order(stack: Settings) -> None:
    result = ingest(stack, REAL, "Real")
    assert sorted(case["source_slices"] for case in result["accepted"]) == [131, 148]
    assert result["quarantined"] == []
    assert all(case["spacing_mm"][0] == 2.0 for case in result["accepted"])
    assert all(-900 < case["lung_hu"] < -820 for case in result["accepted"])
    with connect(stack) as conn:
        case = store.get(conn, result["accepted"][0]["case"])
    objects = ObjectStore.from_settings(stack)
    slices = [
        pydicom.dcmread(BytesIO(file), stop_before_pixels=True) for file in unpack(objects.get(case.dicom))
    ]
    heights = [float(one.ImagePositionPatient[2]) for one in slices]
    assert len(heights) == case.source_slices
    assert heights == sorted(heights)
    volume = decode_volume(objects.get(case.volume))
    assert volume.array.shape == tuple(case.shape)
    assert len(case.slices) == case.shape[0]

    again = ingest(stack, REAL, "Real")
    assert again == {"accepted": [], "quarantined": [], "unchanged": 2}


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared real scans are not here")
def test_nothing_of_the_real_patients_is_left_anywhere(stack: Settings) -> None:
    ingest(stack, REAL, "Real")
    wanted: set[bytes] = set()
    for path in REAL.rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for keyword in (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "SOPInstanceUID",
            "FrameOfReferenceUID",
            "StudyDate",
        ):
            wanted.add(str(header.get(keyword, "")).encode())
    wanted |= {str(header.get("PatientID", "")).encode()}
    found = {needle for needle in wanted if len(needle) >= 8}
    assert found
    assert list(places_with(stack, found)) == []


def test_planted_identities_are_left_nowhere_and_the_manifest_is_told(
    stack: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "MUSTERFRAU-ERIKA"
    write_series(folder, slices=40)
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as file:
        rows = [
            ["patient_id", "diagnosis", "age", "sex", "nat_date"],
            [SECRETS["PatientID"], "covid", "93", "f", "2020-02-03"],
        ]
        csv.writer(file).writerows(rows)
    result = ingest(stack, folder, "Planted", "--manifest", str(manifest))
    assert len(result["accepted"]) == 1
    with connect(stack) as conn:
        row = conn.execute(
            "SELECT diagnosis, age, sex, nat_date FROM patients WHERE id = %s",
            (result["accepted"][0]["patient"],),
        ).fetchone()
    assert row is not None
    assert (row["diagnosis"], row["age"], row["sex"]) == ("covid", 90, "F")
    assert str(row["nat_date"]) < "2020-02-03"
    needles = {value.encode() for value in SECRETS.values()} | {b"MUSTERFRAU"}
    assert list(places_with(stack, needles)) == []


def test_a_bad_manifest_names_row_and_column_but_no_patient(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "scan", slices=14)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("patient_id,diagnosis,age\nERIKA-77,plague,40\n,covid,x\n")
    done = rounds(stack, "ingest", str(tmp_path / "scan"), "--site", "S", "--manifest", str(manifest))
    assert done.returncode == 1
    assert "row 2: diagnosis" in done.stderr
    assert "row 3" in done.stderr
    assert "ERIKA" not in done.stderr + done.stdout


def test_refused_series_are_quarantined_once_with_their_files(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "gap", slices=20, leave_out=(9,), series="1.2.3.77")
    first = ingest(stack, tmp_path / "gap", "Refused")
    assert [entry["reason"] for entry in first["quarantined"]] == ["missing_slice"]
    assert len(first["quarantined"][0]["files"]) == 19
    with connect(stack) as conn:
        before = len(holding.listing(conn))
    again = ingest(stack, tmp_path / "gap", "Refused")
    with connect(stack) as conn:
        assert len(holding.listing(conn)) == before
    assert again["quarantined"][0]["quarantine"] == first["quarantined"][0]["quarantine"]


def test_a_worker_killed_in_mid_ingest_loses_and_doubles_nothing(stack: Settings, tmp_path: Path) -> None:
    for number in range(8):
        write_series(
            tmp_path / "many" / str(number),
            slices=40,
            size=256,
            series=f"1.2.9.{number}",
            patient=f"K{number}",
        )
    ticket = spool.ask(stack, spool.Request(tmp_path / "many", "Killed", None))
    start_flow(stack, "ingest", {"ticket": ticket})
    deadline = time.monotonic() + 90
    while spool.progress(stack, ticket)[0] == 0:
        assert time.monotonic() < deadline, "the flow never began"
        time.sleep(0.02)
    kill_worker(stack)
    assert spool.progress(stack, ticket)[0] < 8
    assert not status(stack)["worker"].up
    up(stack)
    result = ingest(stack, tmp_path / "many", "Killed")
    with connect(stack) as conn:
        rows = conn.execute("SELECT series_key, slices, volume FROM cases WHERE site = 'Killed'").fetchall()
    assert len(rows) == 8
    assert len(result["accepted"]) + result["unchanged"] == 8
    objects = ObjectStore.from_settings(stack)
    assert all(objects.has(row["volume"]) and len(row["slices"]) == 40 for row in rows)


def kill_worker(settings: Settings) -> None:
    """Kill the worker and every process under it at once, as a power cut would."""
    record = json.loads((settings.home / "stack.json").read_text())["parts"]["worker"]
    worker = int(record["pid"])
    for pid in [worker, *descendants(worker)]:
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found += [number, *descendants(number)]
    return found


def places_with(settings: Settings, needles: set[bytes]) -> Iterator[str]:
    """Yield every place that holds one of the needles: all tables, all objects, all files of the state folder.

    The state folder holds Label Studio's and Prefect's databases and every log. PostgreSQL's own files are read as
    rows, since they may be compressed. Private copies of scans that may be released are left out: they are
    scans as they came, in a folder of his own (docs/decisions/0009), and other tests leave some there.
    """
    with connect(settings) as conn:
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for table in tables:
            for row in conn.execute(f'SELECT to_jsonb(t)::text AS row FROM "{table["tablename"]}" t'):  # noqa: S608
                if any(needle in row["row"].encode() for needle in needles):
                    yield f"table {table['tablename']}"
    for path in settings.home.rglob("*"):
        if path.is_file() and path.relative_to(settings.home).parts[0] not in {"database", "quarantine"}:
            data = path.read_bytes()
            if any(needle in data for needle in needles):
                yield f"file {path.relative_to(settings.home)}"
            if any(needle in str(path).encode() for needle in needles):
                yield f"name {path.relative_to(settings.home)}"
