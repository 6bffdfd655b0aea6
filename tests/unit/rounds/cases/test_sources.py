"""Zips: unpacked privately and gone afterwards, bombs and escapes refused, series across archives joined."""

import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.rounds.imaging.factories import shared, slice_of, write, write_series

from rounds.cases.sources import LIMITS, ZipLimits, opened, sweep
from rounds.imaging.gate import examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import Found


def zipped(path: Path, folder: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Zip a folder, names relative to it."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def made(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def found_in(tmp_path: Path, source: Path, limits: ZipLimits = LIMITS) -> Found:
    """Search a source as ingest does; nothing may be left in the scratch folder."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    with opened(home, source, limits) as lent:
        found = lent.find()
    assert not (home / "scratch").exists() or list((home / "scratch").iterdir()) == []
    return found


def refusal_of(tmp_path: Path, source: Path, limits: ZipLimits = LIMITS) -> str:
    found = found_in(tmp_path, source, limits)
    assert found.series == ()
    assert [one.code for one in found.unreadable] == [Reason.UNSAFE_ARCHIVE]
    assert found.unreadable[0].files == (source,)
    return found.unreadable[0].detail


def test_a_zip_holds_the_same_series_as_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "in", 16)
    archive = zipped(tmp_path / "scan.zip", tmp_path / "in")
    (series,) = found_in(tmp_path, archive).series
    (stack,) = examine(series).stacks
    assert len(stack.slices) == 16


def test_unpacked_files_are_private_and_told_by_their_original_names(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "SMITH", 12)
    archive = zipped(tmp_path / "scan.zip", tmp_path / "in")
    with opened(tmp_path / "home", archive) as lent:
        files = lent.find().series[0].files
        assert lent.named(files[0]) == f"{archive}!/SMITH/IM0001"
        assert not any("SMITH" in str(path) for path in files)
        assert stat.S_IMODE((tmp_path / "home" / "scratch").stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert "SMITH" not in repr(lent)


def test_zips_in_a_folder_and_one_inside_another_are_one_series(tmp_path: Path) -> None:
    for index in range(15):
        write(tmp_path / f"part{index % 3}" / f"{index}", slice_of(index))
    folder = tmp_path / "media"
    folder.mkdir()
    zipped(folder / "one.zip", tmp_path / "part0")
    inner = zipped(tmp_path / "inner.zip", tmp_path / "part1")
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        archive.write(inner, "deep/inner.zip")
    (tmp_path / "part2").rename(folder / "loose")
    (series,) = found_in(tmp_path, folder).series
    assert len(examine(series).stacks[0].slices) == 15


def test_archives_three_deep_are_refused(tmp_path: Path) -> None:
    deepest = made(tmp_path / "a.zip", x=b"x").read_bytes()
    middle = made(tmp_path / "b.zip", **{"a.zip": deepest}).read_bytes()
    assert "inside" in refusal_of(tmp_path, made(tmp_path / "c.zip", **{"b.zip": middle}))


@pytest.mark.parametrize(
    "name", ["../out.dcm", "a/../../out.dcm", "/etc/out.dcm", "..\\out.dcm", "C:\\out.dcm"]
)
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    assert "outside" in refusal_of(tmp_path, made(tmp_path / "x.zip", good=b"1", **{name: b"2"}))
    assert not list(tmp_path.rglob("out.dcm"))


def test_an_entry_whose_name_is_empty_is_refused(tmp_path: Path) -> None:
    archive = made(tmp_path / "x.zip", good=b"1", xnone=b"2")
    archive.write_bytes(archive.read_bytes().replace(b"xnone", b"\0none"))
    assert "outside" in refusal_of(tmp_path, archive)


def test_an_entry_that_begins_behind_the_end_does_not_stop_the_others(tmp_path: Path) -> None:
    sound = write(tmp_path / "in.dcm", slice_of(0))
    archive = made(tmp_path / "x.zip", **{"a.dcm": b"1", "b.dcm": sound.read_bytes()})
    data = bytearray(archive.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 42, len(data) - 10)
    archive.write_bytes(data)
    found = found_in(tmp_path, archive)
    assert len(found.series) == 1
    assert [one.detail for one in found.unreadable] == ["damaged in its archive"]


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "links" in refusal_of(tmp_path, tmp_path / "x.zip")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", a=b"secret")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert refusal_of(tmp_path, path) == "it is encrypted"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (replace(LIMITS, max_ratio=100, ratio_from=2**20), "times its size"),
        (replace(LIMITS, max_bytes=2**20), "unpacks to more"),
        (replace(LIMITS, max_entries=2), "entries"),
        (replace(LIMITS, spare_bytes=2**60), "room"),
    ],
)
def test_bombs_are_refused(tmp_path: Path, limits: ZipLimits, told: str) -> None:
    path = made(tmp_path / "x.zip", a=bytes(2**21), b=b"", c=b"")
    assert told in refusal_of(tmp_path, path, limits)


def test_a_bomb_inside_an_archive_counts_too(tmp_path: Path) -> None:
    inner = made(tmp_path / "inner.zip", a=bytes(2**22)).read_bytes()
    path = made(tmp_path / "x.zip", **{"inner.zip": inner})
    assert "times" in refusal_of(tmp_path, path, replace(LIMITS, ratio_from=2**20))


def test_an_entry_that_is_longer_than_it_says_is_not_believed(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", a=bytes(2**21))
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(magic) + offset, 100)
    path.write_bytes(data)
    found = found_in(tmp_path, path)
    assert [one.code for one in found.unreadable] in ([Reason.UNDECODABLE], [Reason.UNSAFE_ARCHIVE])


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", a=os.urandom(4000), b=b"2")
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, second + 20, 10_000)
    path.write_bytes(data)
    assert "overlap" in refusal_of(tmp_path, path)


@pytest.mark.parametrize("large", [False, True])
def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path: Path, large: bool) -> None:
    path = made(tmp_path / "x.zip", a=b"1")
    data = path.read_bytes()
    end = bytearray(data[-22:])
    if large:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**32, 0)
        data = data[:-22] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    else:
        struct.pack_into("<L", end, 12, 2**31)
        data = data[:-22]
    path.write_bytes(data + end)
    assert "entries" in refusal_of(tmp_path, path)


def test_an_archive_in_the_zip64_form_with_a_comment_is_read(tmp_path: Path) -> None:
    write_series(tmp_path / "in", 12)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "in").iterdir()):
            with archive.open(file.name, "w", force_zip64=True) as entry:
                entry.write(file.read_bytes())
        archive.comment = b"exported by a workstation"
    assert len(found_in(tmp_path, path).series[0].slices) == 12


def test_one_damaged_entry_does_not_stop_the_others(tmp_path: Path) -> None:
    write_series(tmp_path / "in", 14)
    path = zipped(tmp_path / "x.zip", tmp_path / "in", zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[3].header_offset
    data = bytearray(path.read_bytes())
    data[start + 200] ^= 0xFF
    path.write_bytes(data)
    found = found_in(tmp_path, path)
    assert len(found.series[0].slices) == 13
    assert [(one.code, len(one.files)) for one in found.unreadable] == [(Reason.UNDECODABLE, 1)]


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: data[:4] + bytes(len(data) - 4)])
def test_a_broken_archive_is_undecodable(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = made(tmp_path / "x.zip", a=b"1" * 100)
    path.write_bytes(damage(path.read_bytes()))
    found = found_in(tmp_path, path)
    assert [one.code for one in found.unreadable] == [Reason.UNDECODABLE]


def test_a_dicom_file_that_is_a_zip_too_is_dicom(tmp_path: Path) -> None:
    write_series(tmp_path / "in", 12)
    for file in (tmp_path / "in").iterdir():
        file.write_bytes(b"PK\x03\x04" + file.read_bytes()[4:])
    assert len(found_in(tmp_path, tmp_path / "in").series[0].slices) == 12


def test_what_a_killed_ingest_unpacked_goes_with_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = made(tmp_path / "x.zip", a=b"1")
    code = (
        "import os, sys; from pathlib import Path; from rounds.cases.sources import opened\n"
        "with opened(Path(sys.argv[1]), Path(sys.argv[2])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(home), str(path)], check=False).returncode == 9
    assert len(list((home / "scratch").rglob("000001"))) == 1
    with opened(home, path):
        assert len(list((home / "scratch").rglob("000001"))) == 1
        sweep(home)
        assert len(list((home / "scratch").rglob("000001"))) == 1, "a living ingest was swept away"
    assert list((home / "scratch").iterdir()) == []


def test_media_with_a_dicomdir_are_read_by_their_files() -> None:
    media = shared("pydicom-testfiles/src/pydicom/data/test_files/dicomdirtests")
    with opened(Path("/nowhere"), media / "TINY_ALPHA") as lent:
        found = lent.find()
    assert found.directories == 1
    assert sum(len(series.slices) for series in found.series) == 50
    assert found.unreadable == ()


def test_a_medium_of_screens_and_scouts_gives_no_volume() -> None:
    with opened(Path("/nowhere"), shared("dcm-qa-ct")) as lent:
        found = lent.find()
    verdicts = [examine(series) for series in found.series]
    assert all(verdict.stacks == () for verdict in verdicts)
    codes = {refusal.code for verdict in verdicts for refusal in verdict.refusals}
    assert Reason.SECONDARY_CAPTURE in codes
    assert sum(len(series.slices) for series in found.series) == 7


def test_a_dicomdir_that_points_outside_reads_nothing_there(tmp_path: Path) -> None:
    write_series(tmp_path / "outside", 12)
    write_series(
        tmp_path / "medium" / "IMAGES", 13, lambda data, _: setattr(data, "SeriesInstanceUID", "1.2.3")
    )
    tiny = shared("pydicom-testfiles/src/pydicom/data/test_files/dicomdirtests/TINY_ALPHA/DICOMDIR")
    data = tiny.read_bytes()
    assert b"PT000000\\ST000000" in data
    (tmp_path / "medium" / "DICOMDIR").write_bytes(
        data.replace(b"PT000000\\ST000000", b"..\\outside\\IM0001"[:17])
    )
    found = found_in(tmp_path, tmp_path / "medium")
    assert found.directories == 1
    assert [(series.uid, len(series.slices)) for series in found.series] == [("1.2.3", 13)]
    assert found_in(tmp_path, zipped(tmp_path / "medium.zip", tmp_path / "medium")).directories == 1
