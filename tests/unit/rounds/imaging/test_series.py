"""Finding series: any names, any rubbish in between, and nothing that stops the walk."""

import os
import struct
import zlib
from pathlib import Path

import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from tests.unit.rounds.imaging.factories import SERIES, shared, slice_of, write, write_series

from rounds.imaging import dicom
from rounds.imaging.refusal import Reason
from rounds.imaging.series import MEDIA_DIRECTORY, find_series, read_slice_header


def test_series_are_found_among_other_files_and_counted(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "deep")
    other = slice_of(0)
    other.SeriesInstanceUID = "1.2.3.4"
    write(tmp_path / "b" / "whatever.xyz", other)
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "empty").touch()
    directory = slice_of(0)
    directory.SOPClassUID = MEDIA_DIRECTORY
    write(tmp_path / "DICOMDIR", directory)
    write(tmp_path / "INDEX", directory)
    found = find_series(tmp_path)
    assert sorted(len(one.slices) for one in found.series) == [1, 16]
    assert (found.not_dicom, found.directories, found.unreadable) == (2, 2, ())


def test_a_single_file_is_a_series(tmp_path: Path) -> None:
    found = find_series(write(tmp_path / "one.dcm", slice_of(0)))
    assert [len(one.slices) for one in found.series] == [1]


def test_broken_dicom_is_refused_without_its_content(tmp_path: Path) -> None:
    write(tmp_path / "good", slice_of(0))
    (tmp_path / "junk.dcm").write_bytes(b"Musterfrau")
    found = find_series(tmp_path)
    assert len(found.series) == 1
    assert [one.code for one in found.unreadable] == [Reason.UNDECODABLE]
    assert "junk" not in found.unreadable[0].sentence
    assert "junk" not in repr(found.unreadable[0])


def test_links_pipes_and_loops_do_not_stop_the_walk(tmp_path: Path) -> None:
    write(tmp_path / "good", slice_of(0))
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert sum(len(one.slices) for one in find_series(tmp_path).series) == 1


def test_a_deflate_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MAX_INFLATED_BYTES", 2**20)
    path = write(tmp_path / "bomb.dcm", slice_of(0), syntax="1.2.840.10008.1.2.1.99")
    assert len(find_series(path).series) == 1
    data = path.read_bytes()
    start = 144 + struct.unpack("<L", data[140:144])[0]
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = b"".join(squeeze.compress(bytes(2**20)) for _ in range(3)) + squeeze.flush()
    path.write_bytes(data[:start] + bomb)
    found = find_series(path)
    assert [one.detail for one in found.unreadable] == ["the deflated data inflate beyond any CT slice"]


def test_a_header_longer_than_the_first_read_is_found(tmp_path: Path) -> None:
    data = slice_of(0)
    data.add_new(0x00091001, "OB", bytes(200_000))
    data.add_new(0x00090010, "LO", "BULK")
    (header,) = find_series(write(tmp_path / "one", data)).series[0].slices
    assert (header.rows, header.slope) == (32, 1.0)


def test_values_that_make_no_sense_are_absent(tmp_path: Path) -> None:
    data = slice_of(0)
    data.RescaleSlope = None
    data.PixelSpacing = None
    data.ImagePositionPatient = [1.0, 2.0]
    data.SliceThickness = "12345"
    data.add(DataElement(0x00280008, "IS", "9" * 400, validation_mode=config.IGNORE))
    path = write(tmp_path / "one", data)
    path.write_bytes(path.read_bytes().replace(b"12345 ", b"thick "))
    (header,) = find_series(path).series[0].slices
    assert (header.slope, header.pixel_spacing, header.thickness) == (None, (), None)
    assert (header.position, header.frames) == ((1.0, 2.0), 1)


def test_no_identity_in_a_repr(tmp_path: Path) -> None:
    series = find_series(write_series(tmp_path, 2)).series[0]
    for secret in ("MRN", "20200305", "1.2.826", str(tmp_path)):
        assert secret not in repr(series)
    assert series.patient == "MRN-0042-XY"


def test_the_real_folders_are_read() -> None:
    found = find_series(shared("covid-ct-md"))
    assert sorted(len(one.slices) for one in found.series) == [131, 148]
    assert found.not_dicom == 3
    assert find_series(shared("dcm-qa-ct")).directories == 3


def test_an_identity_that_is_written_as_a_name_is_read_as_text(tmp_path: Path) -> None:
    """A name iterates over its letters."""
    path = write(tmp_path / "one.dcm", slice_of(0))
    path.write_bytes(path.read_bytes().replace(b"\x20\x00\x0e\x00UI", b"\x20\x00\x0e\x00PN"))
    assert read_slice_header(path).series_uid == SERIES
