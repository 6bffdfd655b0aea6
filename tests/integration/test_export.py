"""Accepted masks taken out again: scans taken in for real, labels accepted by the book, files read by other readers."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import pydicom
import pytest
from psycopg.types.json import Jsonb
from tests.integration.scans import SECRETS, write_series
from tests.integration.ward import GOOD, STAFF, Ward, hire, own_database
from tests.unit.rounds.cases.test_export import Mask, ellipsoids, frames_read, read_seg
from tests.unit.rounds.imaging.enhanced_scans import enhanced
from tests.unit.rounds.imaging.factories import write

from rounds.batches import service as batches
from rounds.cases import store
from rounds.cases.archive import frames_of, unpack
from rounds.cases.export import MaskUnusable, NothingAccepted, OutUnusable, export
from rounds.cases.intake import Intake, take_in
from rounds.cases.model import CaseUnknown, Format
from rounds.db import Connection, connect
from rounds.imaging.nifti import decode_mask, encode_mask
from rounds.imaging.pseudonyms import pseudonym
from rounds.imaging.series import find_series
from rounds.imaging.source import read_headers
from rounds.labels import service as drawing
from rounds.labels import store as labels
from rounds.labels.service import withdraw
from rounds.labels.store import Label
from rounds.objects import ObjectStore
from rounds.settings import Settings

KEY = bytes(range(32))
VALUES_ALL = {"lesion": (1,), "lobes": (1, 2, 3, 4, 5)}
VALUES = {"lesion": (1,), "lobes": (2, 5)}

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class Hospital:
    """A database with a thin case (1.25 mm slices, read at 2.5), a thick one, one of several multi-frame files, and one
    that nobody accepted."""

    settings: Settings
    thin: int
    thick: int
    framed: int
    untouched: int

    def connect(self) -> Connection:
        return connect(self.settings)

    def drawn(self, case_id: int, scheme: str) -> Mask:
        """Return what was drawn, on the reading grid."""
        with self.connect() as conn:
            return ellipsoids(tuple(store.get(conn, case_id).shape), VALUES[scheme])

    def slices(self, case_id: int) -> list[Any]:
        with self.connect() as conn:
            return read_headers(unpack(self.objects.get(store.get(conn, case_id).dicom)))

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore.from_settings(self.settings)

    def export(self, case_id: int, form: Format, out: Path, **more: Any) -> list[Any]:
        with self.connect() as conn:
            return export(conn, self.settings, case_id, form, out, **more)


@pytest.fixture(scope="module")
def hospital(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("scans")
    with own_database(stack, "rounds_test_export") as own, connect(own) as conn:
        intake = Intake(
            conn, ObjectStore.from_settings(own), KEY, "north", (-1024, 350), ("lesion", "lobes"), folder
        )
        found = []
        for index, step in enumerate((1.25, 2.5, 2.5, 2.5)):
            where = folder / str(index)
            uid = f"1.2.826.0.1.3680043.2.1125.{index + 1}"
            write_series(where, slices=round(150 / step), step=step, series=uid, patient=f"ERIKA-{index}")
            if index == 2:
                join_slices(where, uid)
            (series,) = find_series(where).series
            (accepted,) = take_in(intake, series).accepted
            found.append(int(accepted["case"]))
        built = Hospital(own, *found)
        staff = {short: hire(conn, short, roles) for short, roles in STAFF.items()}
        for scheme in VALUES:
            with conn.transaction():
                group_a, group_b = [staff["ann"]], [staff["ben"], staff["bea"]]
                batch = batches.open_batch(conn, scheme, 3, group_a, group_b, 0.5, "operator")
                batches.start(conn, batch.id, "operator")
            accept_all(built, Ward(conn, staff, batch.id))
        yield built


def join_slices(folder: Path, series: str) -> None:
    """Put the slices of a series into two multi-frame files, every other one into either, the topmost first."""
    paths = list(folder.iterdir())
    slices = sorted(map(pydicom.dcmread, paths), key=lambda one: -float(one.ImagePositionPatient[2]))
    for path in paths:
        path.unlink()
    for start in (0, 1):
        made = enhanced(slices[start::2], name=f"{series}.900{start}")
        made.SeriesInstanceUID = series
        write(folder / f"frames-{start}.dcm", made)


def accept_all(hospital: Hospital, ward: Ward) -> None:
    """Draw, check, audit and accept a batch; the lesions of the thin case began as a model's pre-label."""
    for label in ward.labels:
        mask = encode_mask(hospital.drawn(label.case_id, label.scheme), np.eye(4))
        ref = hospital.objects.put(mask, ".nii.gz")
        before = prelabel(ward.conn, label, ref) if (label.scheme, label.case_id) == ("lesion", 1) else None
        with ward.conn.transaction():
            drawing.submit(ward.conn, label.id, ward.staff["ann"], ref, parent_id=before, seconds=9.0)
        ward.check(label, ben=GOOD, bea=GOOD)
    ward.audit_all()
    ward.decide("accept")


def prelabel(conn: Connection, label: Label, mask: str) -> int:
    """Write a model version and its revision of a label."""
    made = conn.execute(
        "INSERT INTO datasets (name, scheme, manifest, created_by) VALUES ('one', 'lesion', 'm', 'o') RETURNING id"
    ).fetchone()
    assert made is not None
    model = conn.execute(
        """
        INSERT INTO models (task, scheme, dataset_id, stage, recipe, seed, weights, metrics, seconds, device)
        VALUES ('segmentation', 'lesion', %s, 2, %s, 1, 'w', %s, 1, 'cpu') RETURNING id
        """,
        (made["id"], Jsonb({}), Jsonb({})),
    ).fetchone()
    assert model is not None
    return labels.add_revision(conn, label.id, mask, model_id=model["id"]).id


def test_nothing_was_moved_where_readers_saw_the_slices_as_scanned(
    hospital: Hospital, tmp_path: Path
) -> None:
    for one in hospital.export(hospital.thick, Format.DICOM_SEG, tmp_path):
        read = read_seg(Path(one.path).read_bytes(), hospital.slices(hospital.thick), VALUES_ALL[one.scheme])
        assert np.array_equal(read, hospital.drawn(hospital.thick, one.scheme))
        assert one.source_ml == pytest.approx(one.reading_ml, rel=1e-5)
        assert one.algorithm == "manual"


def test_a_mask_of_several_multi_frame_files_names_the_frames_of_each(
    hospital: Hospital, tmp_path: Path
) -> None:
    with hospital.connect() as conn:
        frames = frames_of(hospital.objects.get(store.get(conn, hospital.framed).dicom))
    assert frames is not None
    assert {file for file, _ in frames} == {0, 1}
    words = "--format", "dicom-seg", "--with-source", "--json", "--out", str(tmp_path)
    done = rounds(hospital.settings, "cases", "export", str(hospital.framed), *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["scheme"] for one in told] == ["lesion", "lobes"]
    sources = [pydicom.dcmread(path) for path in sorted((tmp_path / "source").iterdir())]
    for one in told:
        drawn = hospital.drawn(hospital.framed, one["scheme"])
        read = frames_read(Path(one["path"]).read_bytes(), sources, frames, drawn.shape)
        assert np.array_equal(read, drawn)


def test_thin_slices_get_the_mask_back_in_all_three_formats_alike(hospital: Hospital, tmp_path: Path) -> None:
    headers = hospital.slices(hospital.thin)
    assert len(headers) == 2 * len(hospital.drawn(hospital.thin, "lesion"))
    segs = hospital.export(hospital.thin, Format.DICOM_SEG, tmp_path)
    niftis = hospital.export(hospital.thin, Format.NIFTI, tmp_path)
    nrrds = hospital.export(hospital.thin, Format.NRRD, tmp_path)
    assert [one.scheme for one in segs] == ["lesion", "lobes"]
    for seg, nifti, nrrd in zip(segs, niftis, nrrds, strict=True):
        read = read_seg(Path(seg.path).read_bytes(), headers, VALUES_ALL[seg.scheme])
        image: Any = cast(Any, nibabel).load(nifti.path)
        assert np.array_equal(np.asarray(image.dataobj).T, read)
        body = gzip.decompress(Path(nrrd.path).read_bytes().partition(b"\n\n")[2])
        assert body == read.tobytes()
        assert np.array_equal(read, np.repeat(hospital.drawn(hospital.thin, seg.scheme), 2, axis=0))
        for name, ml in seg.reading_ml.items():
            assert seg.source_ml[name] == pytest.approx(ml, rel=0.02)
        assert sum(seg.reading_ml.values()) > 10
        corner = image.affine @ [3, 4, 5, 1]
        first = headers[5]
        x, y, z = first.ImagePositionPatient
        row, column = first.PixelSpacing
        assert corner[:3] == pytest.approx([-(x + 3 * column), -(y + 4 * row), z], abs=1e-3)


def test_a_mask_that_a_model_began_is_semiautomatic(hospital: Hospital, tmp_path: Path) -> None:
    by_scheme = {one.scheme: one for one in hospital.export(hospital.thin, Format.DICOM_SEG, tmp_path)}
    assert {name: one.algorithm for name, one in by_scheme.items()} == {
        "lesion": "semiautomatic",
        "lobes": "manual",
    }
    (segment,) = pydicom.dcmread(by_scheme["lesion"].path).SegmentSequence
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "model 1"


def test_nothing_of_the_patient_goes_out_and_the_slices_fit(hospital: Hospital, tmp_path: Path) -> None:
    for form in Format:
        hospital.export(hospital.thin, form, tmp_path, with_source=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6 + len(hospital.slices(hospital.thin))
    found = b"".join(
        path.name.encode() + (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        for path in files
        for data in [path.read_bytes()]
    )
    for secret in (*SECRETS.values(), "ERIKA-0", "1.2.826.0.1.3680043.2.1125"):
        assert secret.encode() not in found
    (seg,) = [pydicom.dcmread(path) for path in files if path.name == "case-1-lesion.dcm"]
    assert seg.PatientID == pseudonym(KEY, "north", "ERIKA-0")
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "source").iterdir())]
    named = {
        one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert named == {one.SOPInstanceUID for one in slices}
    assert {one.StudyInstanceUID for one in slices} == {seg.StudyInstanceUID}


def test_export_is_in_the_trail_and_comes_out_the_same_again(hospital: Hospital, tmp_path: Path) -> None:
    (one,) = hospital.export(hospital.thin, Format.DICOM_SEG, tmp_path / "a.dcm", scheme="lesion")
    (two,) = hospital.export(hospital.thin, Format.DICOM_SEG, tmp_path / "b.dcm", scheme="lesion")
    assert Path(one.path).read_bytes() == Path(two.path).read_bytes()
    with hospital.connect() as conn:
        row = conn.execute("SELECT * FROM trail WHERE action = 'export' ORDER BY id DESC LIMIT 1").fetchone()
    assert row is not None
    assert (row["subject"], row["subject_id"]) == ("case", str(hospital.thin))
    assert row["detail"] == {"format": "dicom-seg", "source": False, "revisions": {"lesion": 2}}


def test_what_cannot_go_out_is_said_and_nothing_is_written(hospital: Hospital, tmp_path: Path) -> None:
    with pytest.raises(NothingAccepted, match="lesion is ready, lobes is ready"):
        hospital.export(hospital.untouched, Format.NRRD, tmp_path)
    with pytest.raises(NothingAccepted, match="under the scheme lung"):
        hospital.export(hospital.thin, Format.NRRD, tmp_path, scheme="lung")
    with pytest.raises(CaseUnknown):
        hospital.export(999, Format.NRRD, tmp_path)
    with pytest.raises(OutUnusable, match="2 masks"):
        hospital.export(hospital.thin, Format.NIFTI, tmp_path / "one.nii.gz")
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutUnusable, match="is a file"):
        hospital.export(hospital.thin, Format.NIFTI, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_withdrawn_label_does_not_go_out_any_more(hospital: Hospital, tmp_path: Path) -> None:
    with hospital.connect() as conn:
        label = conn.execute(
            "SELECT id FROM labels WHERE case_id = %s AND scheme = 'lobes'", (hospital.thick,)
        ).fetchone()
        assert label is not None
        with conn.transaction(force_rollback=True):
            withdraw(conn, label["id"], "operator", "motion")
            found = export(conn, hospital.settings, hospital.thick, Format.NIFTI, tmp_path)
    assert [one.scheme for one in found] == ["lesion"]


def test_mask_that_does_not_fit_its_scheme_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    own = hospital.settings.model_copy(update={"annotation_configs": tmp_path})
    for suffix in ("yaml", "xml"):
        text = (hospital.settings.annotation_configs / f"lobes.{suffix}").read_text()
        lines = [line for line in text.splitlines() if "right lower" not in line]
        (tmp_path / f"lobes.{suffix}").write_text("\n".join(lines))
    with hospital.connect() as conn, pytest.raises(MaskUnusable, match=r"values \[5\]"):
        export(conn, own, hospital.thick, Format.NIFTI, tmp_path / "out", scheme="lobes")


def test_command_lists_as_before_and_exports(hospital: Hospital, tmp_path: Path) -> None:
    listed = rounds(hospital.settings, "cases", "--json")
    assert [one["case"] for one in json.loads(listed.stdout)] == [1, 2, 3, 4]
    out = tmp_path / "out"
    done = rounds(hospital.settings, "cases", "export", "1", "--format", "nifti", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [Path(one["path"]).name for one in told] == ["case-1-lesion.nii.gz", "case-1-lobes.nii.gz"]
    mask, _ = decode_mask(Path(told[0]["path"]).read_bytes())
    assert mask.shape == tuple(told[0]["shape"])
    failed = rounds(hospital.settings, "cases", "export", "4", "--format", "nrrd", "--out", str(out))
    assert failed.returncode == 1
    assert failed.stderr.startswith("rounds: case 4 has no accepted label")
    assert len(failed.stderr.splitlines()) == 1


def rounds(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `rounds` on the hospital's own database."""
    known = {"ROUNDS_HOME": str(settings.home), "ROUNDS_DATABASE_URL": settings.require("database_url")}
    return subprocess.run(
        [sys.executable, "-m", "rounds", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **known},
        check=False,
    )
