"""The second check: it finds what a careless de-identification leaves, and nothing where nothing is left."""

import gc
import io
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.unit.rounds.imaging.factories import shared, slice_of, write
from tests.unit.rounds.imaging.test_deid import KEY, identified

from rounds.cases.cleaning import Cleaning
from rounds.imaging.deid import deidentify
from rounds.imaging.gate import Stack, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.residue import Finding, Kind, Residue
from rounds.imaging.series import find_series
from rounds.imaging.volume import VolumeRefused

SYNTAXES = ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, "1.2.840.10008.1.2.1.99"]
LEFT = {
    "family name": ("SeriesDescription", "LUNG MUSTERFRAU 1.0", Kind.NAME),
    "name run together": ("ManufacturerModelName", "ScopeMusterfrau", Kind.NAME),
    "patient id": ("ProtocolName", "Thorax mrn-0042-xy", Kind.IDENTIFIER),
    "accession number": ("StudyDescription", "Thorax ACC778899", Kind.IDENTIFIER),
    "serial number": ("SoftwareVersions", "VA1 SERIAL9000", Kind.IDENTIFIER),
    "number in a comment": ("FilterType", "CASE-55123", Kind.IDENTIFIER),
    "doctor in a comment": ("ConvolutionKernel", "B30 Zaunreiter", Kind.NAME),
    "phone": ("SeriesDescription", "Lung 040 123 45 67", Kind.PHONE),
    "study date in text": ("SeriesDescription", "Lung 05.03.2020", Kind.DATE),
    "birth date in text": ("SeriesDescription", "Lung 1950-08-17", Kind.DATE),
    "date": ("StudyDate", "20200305", Kind.DATE),
    "time": ("StudyTime", "101530", Kind.DATE),
    "street": ("SeriesDescription", "Lung Nachtweg 1", Kind.WORDS),
    "hospital": ("StationName", "Klinikum Nord", Kind.WORDS),
    "sentence of a comment": ("SeriesDescription", "seven little dwarfs", Kind.WORDS),
    "uid": ("FrameOfReferenceUID", "1.2.826.0.1.3680043.9.1000.3", Kind.UID),
    "age": ("PatientAge", "093Y", Kind.IDENTIFIER),
}


def original() -> Dataset:
    data = identified()
    data.PatientAddress = "Nachtweg 1, Entenhausen"
    data.PatientTelephoneNumbers = "(040) 123-4567"
    data.ImageComments = "Seen by Dr. Zaunreiter, case-55123, with seven little dwarfs"
    return data


def files(tmp_path: Path, syntax: str) -> tuple[Path, Dataset]:
    """Write an original; return its path and the de-identified data set, to be spoilt."""
    path = write(tmp_path / "one", original(), syntax)
    return path, pydicom.dcmread(io.BytesIO(deidentify(path, KEY, "north").data))


def spoilt(clean: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, clean, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [*SYNTAXES, ExplicitVRBigEndian])
def test_our_own_work_has_no_findings(tmp_path: Path, syntax: str) -> None:
    data = original()
    if syntax == ExplicitVRBigEndian:
        data["PixelData"].VR = "OW"
    path = write(tmp_path / "one", data, syntax)
    assert Residue().find(path, deidentify(path, KEY, "north").data) == ()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("what", LEFT)
def test_what_is_left_is_found_where_it_is(tmp_path: Path, what: str, syntax: str) -> None:
    path, clean = files(tmp_path, syntax)
    keyword, value, kind = LEFT[what]
    setattr(clean, keyword, value)
    tag = clean[keyword].tag
    found = Residue().find(path, spoilt(clean))
    assert Finding(kind, f"({tag.group:04X},{tag.element:04X})") in found
    assert value not in repr(found)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_nested_private_meta_and_pixels_are_searched(tmp_path: Path, syntax: str) -> None:
    path, clean = files(tmp_path, syntax)
    inner, outer = Dataset(), Dataset()
    inner.PatientName = "Erika"
    outer.ReferencedImageSequence = Sequence([inner])
    clean.SourceImageSequence = Sequence([outer])
    clean.add_new(0x00110010, "LO", "MAKER")
    clean.file_meta.SourceApplicationEntityTitle = "MUSTERFRAU"
    clean.PixelData = b"Musterfrau".ljust(len(clean.PixelData), b"\0")
    found = Residue().find(path, spoilt(clean))
    assert {Finding(Kind.NAME, "(0010,0010)"), Finding(Kind.PRIVATE, "(0011,0010)")} <= set(found)
    assert {Finding(Kind.NAME, "(0002,0016)"), Finding(Kind.IDENTIFIER, "pixel data")} <= set(found)


def test_secrets_that_only_private_or_nested_elements_tell_are_known(tmp_path: Path) -> None:
    data = original()
    data.add_new(0x00091003, "PN", "Schneckenburger^Ada")
    inner = Dataset()
    inner.PatientID = "QX-99887"
    data.OtherPatientIDsSequence = Sequence([inner])
    path = write(tmp_path / "one", data)
    clean = pydicom.dcmread(io.BytesIO(deidentify(path, KEY, "north").data))
    clean.SeriesDescription, clean.ProtocolName = "Schneckenburger", "qx-99887"
    found = Residue().find(path, spoilt(clean))
    assert found == (Finding(Kind.IDENTIFIER, "(0018,1030)"), Finding(Kind.NAME, "(0008,103E)"))


def test_what_a_later_slice_tells_is_searched_in_texts_seen_before(tmp_path: Path) -> None:
    path, clean = files(tmp_path, SYNTAXES[0])
    clean.SeriesDescription = "Lung Kaltenbrunn"
    residue = Residue()
    assert residue.find(path, spoilt(clean)) == ()
    later = original()
    later.OperatorsName = "Kaltenbrunn"
    other = write(tmp_path / "two", later)
    assert residue.find(other, spoilt(clean)) == (Finding(Kind.NAME, "(0008,103E)"),)


def test_a_broken_file_is_a_finding(tmp_path: Path) -> None:
    path, clean = files(tmp_path, SYNTAXES[0])
    good = spoilt(clean)
    for broken in (good[:700], b"", b"x" * 500):
        assert Residue().find(path, broken) == (Finding(Kind.UNCHECKED, "file"),)
    assert Finding(Kind.UNCHECKED, "preamble") in Residue().find(path, b"who".ljust(128, b"\0") + good[128:])


def test_words_of_anatomy_are_no_evidence(tmp_path: Path) -> None:
    data = original()
    data.PatientName, data.InstitutionName = "Lung^Chest", "Royal Chest Hospital"
    data.SeriesDescription, data.StudyID = "Thorax 1.0 B70f", "120"
    path = write(tmp_path / "one", data)
    clean = pydicom.dcmread(io.BytesIO(deidentify(path, KEY, "north").data))
    clean.SeriesDescription = "Chest Lung 1.0 120"
    assert Residue().find(path, spoilt(clean)) == ()


def test_intake_refuses_what_has_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home := tmp_path / "home").mkdir()
    for index in range(40):
        write(tmp_path / "series" / f"{index:02d}", slice_of(index, step=5.0))
    stack: Stack = examine(find_series(tmp_path / "series").series[0]).stacks[0]
    with Cleaning(KEY, "north", home) as cleaning:
        cleaning.volume(stack)
        assert cleaning.refusal() is None
    telling, found = stack.slices[3].path, Residue.find

    def with_a_name(self: Residue, original: Path | bytes, result: bytes) -> tuple[Finding, ...]:
        clean = pydicom.dcmread(io.BytesIO(result))
        clean.SeriesDescription = "Musterfrau"
        return found(self, original, spoilt(clean) if original == telling else result)

    monkeypatch.setattr(Residue, "find", with_a_name)
    with Cleaning(KEY, "north", home) as cleaning:
        cleaning.volume(stack)
        refusal = cleaning.refusal()
    assert refusal is not None
    assert (refusal.code, refusal.files) == (Reason.RESIDUAL_IDENTITY, (telling,))
    assert "(0008,103E)" in refusal.sentence
    assert "Musterfrau" not in refusal.sentence
    assert not list(home.iterdir()), "the packed files have no name, so that no crash leaves them behind"


def test_a_refusal_half_way_leaves_nothing_that_complains_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    for index in range(16):
        write(tmp_path / "series" / f"{index:02d}", slice_of(index, step=5.0))
    stack: Stack = examine(find_series(tmp_path / "series").series[0]).stacks[0]
    stack.slices[9].path.write_bytes(b"cut")
    with pytest.raises(VolumeRefused), Cleaning(KEY, "north", tmp_path) as cleaning:
        cleaning.volume(stack)
    del cleaning
    gc.collect()
    assert complaints == []


def test_the_real_scans_have_no_findings() -> None:
    for folder in ("covid-ct-md", "cip-chest", "dicom2nifti"):
        for series in find_series(shared(folder)).series:
            residue = Residue()
            for one in series.slices[::5]:
                assert residue.find(one.path, deidentify(one.path, KEY, "north").data) == ()
