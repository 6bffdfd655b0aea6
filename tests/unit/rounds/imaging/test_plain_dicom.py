"""The fast reader gives what pydicom gives, or nothing."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.unit.rounds.imaging.factories import slice_of

from rounds.imaging.dicom import quietly
from rounds.imaging.plain_dicom import MAX_ELEMENTS, MAX_VALUE_BYTES, read_plain

REAL = Path(__file__).resolve().parents[5] / "shared" / "data"
SOME_TAGS = {0x00080060, 0x00200032, 0x00280010}


def told(data: FileDataset) -> list[object]:
    """Return everything that can be asked of a data set."""
    elements = [
        (tag, one.VR, one.value, one.is_raw, getattr(one, "value_tell", None))
        for tag, one in data._dict.items()
    ]
    meta = [(one.tag, one.VR, one.value) for one in data.file_meta]
    return [elements, meta, data.preamble, data.original_encoding, data.original_character_set]


def written(data: Dataset, syntax: pydicom.uid.UID = ExplicitVRLittleEndian) -> bytes:
    buffer = io.BytesIO()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if syntax == RLELossless:
        data.PixelData = encapsulate([b"ab" * 50, b"cd" * 7])
        data["PixelData"].is_undefined_length = True
    with quietly():
        pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def filled() -> Dataset:
    data = slice_of(0)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = "Müller^Jürgen"
    data.AccessionNumber = ""
    item = Dataset()
    item.CodeMeaning = "größer"
    data.ProcedureCodeSequence = Sequence([item, item])
    open_ended = Dataset()
    open_ended.ReferencedSOPInstanceUID = "1.2.3"
    data.ReferencedImageSequence = Sequence([open_ended])
    data["ReferencedImageSequence"].is_undefined_length = True
    return data


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_gives_what_pydicom_gives(syntax: pydicom.uid.UID) -> None:
    data = written(filled(), syntax)
    with quietly():
        fast = read_plain(data)
        assert fast is not None
        assert told(fast) == told(pydicom.dcmread(io.BytesIO(data)))
        assert fast.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
        assert fast.ProcedureCodeSequence[1].CodeMeaning == "größer"


def test_keeps_the_wanted_elements_before_the_stop() -> None:
    data = written(filled())
    head = read_plain(data[: data.index(b"\xe0\x7f\x10\x00") + 4], SOME_TAGS, 0x00290000)
    assert head is None, "the length of the next element is not there"
    head = read_plain(data[: data.index(b"\xe0\x7f\x10\x00") + 20], SOME_TAGS, 0x00290000)
    assert head is not None
    assert set(head.keys()) == SOME_TAGS | {0x00080005}


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_syntaxes_are_left_to_pydicom(syntax: pydicom.uid.UID) -> None:
    if syntax == ExplicitVRBigEndian:
        data = filled()
        data.PixelData = bytes(len(data.PixelData))
        assert (
            read_plain(written(data).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0", 2)) is None
        )
    else:
        assert read_plain(written(filled(), syntax)) is None


def test_what_is_cut_or_too_much_is_left_to_pydicom() -> None:
    data = written(filled())
    assert read_plain(data[:-1]) is None
    assert read_plain(data[128:]) is None
    assert read_plain(b"") is None
    long = filled()
    long.ImageComments = "x" * (MAX_VALUE_BYTES + 2)
    assert read_plain(written(long)) is None
    many = filled()
    for number in range(MAX_ELEMENTS):
        many.add_new(0x60100000 + number, "SH", "x")
    assert read_plain(written(many)) is None
    data = written(filled())
    pixels = data.index(b"\xe0\x7f\x10\x00")
    deeper = b"\x10\x00\x02\x10SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with quietly():
        assert read_plain(data[:pixels] + 2000 * deeper + data[pixels:]) is None


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared real files are not here")
def test_every_real_and_hostile_file_reads_the_same() -> None:
    read = 0
    with quietly():
        for path in sorted(one for one in REAL.rglob("*") if one.is_file()):
            data = path.read_bytes()
            fast = read_plain(data)
            if fast is not None:
                assert told(fast) == told(pydicom.dcmread(io.BytesIO(data))), path
                read += 1
    assert read > 400
