"""The gate on the real stack: several volumes in one series, a tilted gantry, and scans that are no chest."""

import math
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset
from tests.integration.scans import SECRETS, write_series
from tests.integration.test_ingest import ingest
from tests.unit.rounds.imaging.enhanced_scans import enhanced
from tests.unit.rounds.imaging.factories import write

from rounds.cases import store
from rounds.cases.archive import frames_of, unpack
from rounds.db import connect
from rounds.imaging.nifti import decode_volume
from rounds.imaging.source import frame_headers, read_headers, source_grid
from rounds.objects import ObjectStore
from rounds.settings import Settings

pytestmark = pytest.mark.stack


def change(folder: Path, edit: Callable[[FileDataset], None]) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)


def sharpened(dataset: FileDataset) -> None:
    dataset.ConvolutionKernel = "B70f"
    dataset.SOPInstanceUID += ".2"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def tilted(dataset: FileDataset) -> None:
    dataset.ImageOrientationPatient = [1, 0, 0, 0, math.cos(0.2), -math.sin(0.2)]


def solid(dataset: FileDataset) -> None:
    dataset.PixelData = (1064).to_bytes(2, "little") * (dataset.Rows * dataset.Columns)


def test_two_reconstructions_in_one_series_are_two_cases_once(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "a", slices=41, series="1.2.31.1")
    write_series(tmp_path / "b", slices=40, series="1.2.31.1")
    change(tmp_path / "b", sharpened)
    result = ingest(stack, tmp_path, "Two")
    assert sorted(case["source_slices"] for case in result["accepted"]) == [40, 41]
    assert result["quarantined"] == []
    with connect(stack) as conn:
        keys = conn.execute("SELECT series_key, slices FROM cases WHERE site = 'Two' ORDER BY 1").fetchall()
    assert keys[1]["series_key"] == f"{keys[0]['series_key']}:1"
    assert [len(row["slices"]) for row in keys] == [41, 40]
    assert ingest(stack, tmp_path, "Two") == {"accepted": [], "quarantined": [], "unchanged": 1}


def test_a_tilted_scan_is_set_upright_and_the_trail_says_so(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path, slices=40, series="1.2.31.2")
    change(tmp_path, tilted)
    (accepted,) = ingest(stack, tmp_path, "Tilted")["accepted"]
    assert "gantry tilt of 11.5 degrees" in accepted["corrections"][0]
    with connect(stack) as conn:
        case = store.get(conn, accepted["case"])
        row = conn.execute(
            "SELECT detail FROM trail WHERE action = 'ingest' AND subject = 'case' AND subject_id = %s",
            (str(case.id),),
        ).fetchone()
    assert row is not None
    assert row["detail"]["corrections"] == accepted["corrections"]
    volume = decode_volume(ObjectStore.from_settings(stack).get(case.volume))
    assert volume.array.shape == tuple(case.shape)
    assert volume.array.shape[1] > volume.array.shape[2] == 96


def test_an_enhanced_file_becomes_the_case_that_its_slices_would(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "classic", slices=40, series="1.2.31.5", patient="A")
    slices = sorted(
        (pydicom.dcmread(path) for path in (tmp_path / "classic").iterdir()),
        key=lambda one: float(one.ImagePositionPatient[2]),
    )
    made = enhanced(slices[::-1], name="1.2.31.6.1")
    made.PatientID, made.SeriesInstanceUID = "B", "1.2.31.6"
    write(tmp_path / "enhanced" / "one.dcm", made)
    (plain,) = ingest(stack, tmp_path / "classic", "Frames")["accepted"]
    (packed,) = ingest(stack, tmp_path / "enhanced", "Frames")["accepted"]
    objects = ObjectStore.from_settings(stack)
    with connect(stack) as conn:
        one, other = store.get(conn, plain["case"]), store.get(conn, packed["case"])
    assert one.patient_id != other.patient_id
    assert (one.volume, one.slices) == (other.volume, other.slices)
    assert (one.source_slices, other.source_slices) == (40, 40)
    archive = objects.get(other.dicom)
    (file,) = unpack(archive)
    frames = frames_of(archive)
    assert frames == [(0, 39 - index) for index in range(40)]
    grid = source_grid(frame_headers(read_headers([file]), frames))
    assert grid.same_as(source_grid(read_headers(unpack(objects.get(one.dicom)))), 1e-9)
    for secret in (*SECRETS.values(), "1.2.31.6"):
        assert secret.encode() not in archive
    assert ingest(stack, tmp_path / "enhanced", "Frames")["unchanged"] == 1


def test_what_is_no_chest_is_quarantined(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "solid", slices=40, series="1.2.31.3")
    change(tmp_path / "solid", solid)
    write_series(tmp_path / "short", slices=20, series="1.2.31.4")
    result = ingest(stack, tmp_path, "None")
    assert result["accepted"] == []
    assert sorted(entry["reason"] for entry in result["quarantined"]) == ["not_a_chest", "short_range"]
    assert {len(entry["files"]) for entry in result["quarantined"]} == {40, 20}
