"""Demo cohorts: the papers' hospitals and scanners, identities to remove, DICOM that reads back as it was drawn."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from rounds.cases.model import read_manifest
from rounds.demo.dicom import DIALECTS, grid_of, stored_pixels, write_scan
from rounds.demo.hospitals import PlannedScan, draw_cohort, manifest_csv
from rounds.demo.phantoms import Phantom, make_phantom
from rounds.demo.scanners import HOSPITALS, SCANNERS, SHARES
from rounds.imaging.gate import examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import find_series
from rounds.imaging.volume import load_volume

BY_HOSPITAL = {
    "tsinghua": (5, 284),
    "no7": (188, 141),
    "zhongnan": (141, 116),
    "tianyou": (378, 0),
    "leishenshan": (165, 0),
}
BY_SCANNER = {
    "uct760": (13, 195),
    "uct530": (253, 0),
    "ct660": (378, 27),
    "ct750hd": (0, 86),
    "discovery": (192, 0),
    "brightspeed": (0, 3),
    "definition": (22, 0),
    "open": (2, 0),
    "ict256": (0, 228),
    "ingenuity": (17, 0),
    "bigbore": (0, 2),
}


def on_scanner(key: str) -> PlannedScan:
    """Plan a short scan on one scanner, with a localizer."""
    planned = draw_cohort(4, seed=2)[0]
    scanner = SCANNERS[key]
    return replace(
        planned, scanner=scanner, protocol=scanner.protocols[0], spacing=(4.0, 5.0, 5.0), shape=(16, 64, 64),
        localizer=True,
    )  # fmt: skip


def drawn(planned: PlannedScan) -> Phantom:
    """Draw the phantom of a plan."""
    return make_phantom(planned.seed, planned.diagnosis, planned.spacing, planned.shape, planned.style)


@pytest.mark.parametrize("key", list(BY_HOSPITAL))
def test_shares_sum_to_the_papers_hospitals(key: str) -> None:
    mine = [share for share in SHARES if share.hospital == key]
    assert (sum(s.positive for s in mine), sum(s.negative for s in mine)) == BY_HOSPITAL[key]
    assert key in HOSPITALS


@pytest.mark.parametrize("key", list(BY_SCANNER))
def test_shares_sum_to_the_papers_scanners(key: str) -> None:
    mine = [share for share in SHARES if share.scanner == key]
    assert (sum(s.positive for s in mine), sum(s.negative for s in mine)) == BY_SCANNER[key]
    assert key in SCANNERS


def test_a_cohort_has_the_mix_the_places_and_one_faulty_scan() -> None:
    cohort = draw_cohort(60, seed=1)
    good = cohort[:60]
    assert [scan.missing_slice for scan in cohort] == [False] * 60 + [True]
    assert Counter(scan.diagnosis for scan in good) == {"covid": 27, "other": 21, "healthy": 12}
    assert {scan.hospital.key for scan in good} == set(HOSPITALS)
    assert len({scan.scanner.key for scan in good}) >= 9
    thin = np.mean([scan.protocol.thickness < 2 for scan in good])
    assert 0.7 < thin < 0.95
    assert all(0.625 <= scan.protocol.thickness <= 5 for scan in good)


def test_every_stretch_of_a_cohort_has_all_diagnoses() -> None:
    cohort = draw_cohort(60, seed=1, faulty=0)
    for first in range(0, 60, 12):
        seen = Counter(scan.diagnosis for scan in cohort[first : first + 12])
        assert seen["covid"] >= 4
        assert seen["other"] >= 3
        assert seen["healthy"] >= 1


def test_scans_stand_only_where_the_paper_had_such_cases() -> None:
    allowed = {(s.hospital, s.scanner, positive) for s in SHARES for positive in (True, False)
               if (s.positive if positive else s.negative)}  # fmt: skip
    for scan in draw_cohort(60, seed=5):
        assert (scan.hospital.key, scan.scanner.key, scan.diagnosis == "covid") in allowed


def test_a_cohort_repeats_by_seed_and_patients_are_all_different() -> None:
    assert draw_cohort(20, seed=9) == draw_cohort(20, seed=9)
    assert draw_cohort(20, seed=9) != draw_cohort(20, seed=10)
    assert len({scan.patient.patient_id for scan in draw_cohort(60, seed=9)}) == 61


def test_the_manifest_is_what_ingest_understands() -> None:
    cohort = draw_cohort(20, seed=9)
    facts = read_manifest(manifest_csv(cohort))
    for scan in cohort:
        known = facts[scan.patient.patient_id]
        assert (known.diagnosis, known.sex) == (scan.diagnosis, scan.patient.sex)
        assert known.nat_date == scan.nat_date


@pytest.mark.parametrize("key", list(SCANNERS))
def test_what_each_scanner_writes_reads_back_as_it_was_drawn(key: str, tmp_path: Path) -> None:
    planned = on_scanner(key)
    phantom = drawn(planned)
    assert write_scan(planned, phantom, tmp_path) == 17
    verdicts = {len(s.slices): examine(s) for s in find_series(tmp_path).series}
    assert [refusal.code for refusal in verdicts[1].refusals] == [Reason.LOCALIZER]
    volume = load_volume(verdicts[16].stacks[0])
    inside = slice(None), slice(12, -12), slice(12, -12)
    assert np.array_equal(volume.array[inside], np.clip(phantom.hu, -1024, 3071)[inside])
    assert volume.grid.same_as(grid_of(planned))
    corner = volume.array[:, 0, 0]
    assert (corner == -1024).all() if SCANNERS[key].vendor == "GE" else (corner > -1024).any()


@pytest.mark.parametrize("key", ["ct660", "definition", "ict256", "uct530"])
def test_headers_hold_identities_to_remove_in_public_and_private_places(key: str, tmp_path: Path) -> None:
    planned = on_scanner(key)
    write_scan(planned, drawn(planned), tmp_path)
    for path in sorted(tmp_path.iterdir()):
        dataset = pydicom.dcmread(path)
        assert dataset.PatientID == planned.patient.patient_id
        assert str(dataset.PatientName).startswith(planned.patient.name)
        assert dataset.StudyDate == f"{planned.taken:%Y%m%d}"
        assert dataset.InstitutionAddress == planned.hospital.address
        private = "".join(str(element) for element in dataset.iterall() if element.tag.is_private)
        raw = b"".join(e.value for e in dataset.iterall() if e.tag.is_private and isinstance(e.value, bytes))
        comments = "".join(str(e.value) for e in dataset.iterall() if e.keyword == "PatientComments")
        assert planned.patient.phone in private + comments + raw.decode(errors="ignore")
        if SCANNERS[key].vendor != "GE":
            assert planned.patient.name_ideographic in str(dataset.PatientName)


def test_file_names_are_not_in_z_order(tmp_path: Path) -> None:
    for key in ("ct660", "definition", "ict256", "uct530"):
        planned = replace(on_scanner(key), localizer=False)
        write_scan(planned, drawn(planned), tmp_path / key)
        heights = [float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2])
                   for p in sorted((tmp_path / key).iterdir())]  # fmt: skip
        assert len(set(heights)) == 16
        assert heights not in (sorted(heights), sorted(heights, reverse=True))


def test_stored_pixels_follow_the_vendors_dialect() -> None:
    hu = np.full((8, 8), -860, dtype=np.int16)
    assert stored_pixels(hu, "UIH").dtype == np.int16
    assert (stored_pixels(hu, "UIH") == -860).all()
    assert (stored_pixels(hu, "Siemens") == 164).all()
    assert stored_pixels(hu, "Philips").dtype == np.uint16
    ge = stored_pixels(hu, "GE")
    assert (ge[0, 0], ge[4, 4]) == (-2000, 164)
    assert {d.intercept for d in DIALECTS.values()} == {0, -1024}


@pytest.mark.parametrize("missing", [False, True])
def test_a_scan_that_lacks_a_slice_is_refused(missing: bool, tmp_path: Path) -> None:
    planned = replace(on_scanner("ct660"), localizer=False, missing_slice=missing)
    assert write_scan(planned, drawn(planned), tmp_path) == 16 - missing
    (series,) = find_series(tmp_path).series
    codes = [refusal.code for refusal in examine(series).refusals]
    assert codes == ([Reason.MISSING_SLICE] if missing else [])
