"""Multipart bodies, however the network cuts them up."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rounds.inbox.multipart import Broken, NotMultipart, Part, Parts, boundary_of

HEAD = b"Content-Type: application/dicom\r\nContent-Length: 7\r\n\r\n"


def body(*parts: bytes, head: bytes = HEAD) -> bytes:
    return b"".join(b"--edge\r\n" + head + part + b"\r\n" for part in parts) + b"--edge--\r\n"


def split(data: bytes, folder: Path, step: int, most: int = 10_000) -> list[Part]:
    parts = Parts(b"edge", folder, most)
    found = [part for at in range(0, len(data), step) for part in parts.feed(data[at : at + step])]
    parts.close()
    return found


@given(some.lists(some.binary(max_size=300), min_size=1, max_size=5), some.integers(1, 200))
def test_parts_come_out_as_they_went_in(contents: list[bytes], step: int) -> None:
    with TemporaryDirectory() as name:
        found = split(body(*contents), Path(name), step)
        assert [part.path.read_bytes() for part in found if part.path] == contents
        assert all(part.path and part.path.stat().st_mode & 0o777 == 0o600 for part in found)


def test_boundaries_that_are_none_are_content(tmp_path: Path) -> None:
    content = b"\r\n--edg\r\n--ed\r\n--edgy"[:-1] + b"\r\n-"
    (part,) = split(body(content.replace(b"--edg\r", b"--ed-")), tmp_path, 1)
    assert part.path is not None
    assert part.path.read_bytes() == content.replace(b"--edg\r", b"--ed-")


def test_a_part_that_is_too_large_or_no_dicom_leaves_no_file(tmp_path: Path) -> None:
    found = split(body(b"x" * 5000, b"small"), tmp_path, 64, most=1000)
    assert [part.path is None for part in found] == [True, False]
    (other,) = split(body(b"{}", head=b"Content-Type: application/json\r\n\r\n"), tmp_path / "..", 64)
    assert other.path is None
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"small"]


@pytest.mark.parametrize("cut", [4, 9, 40, 80])
def test_a_body_that_ends_early_is_broken(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Broken):
        split(body(b"0123456", b"789")[:-cut], tmp_path, 16)


def test_what_follows_no_boundary_is_broken(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        split(b"this is no multipart at all, not even a little bit of it", tmp_path, 16)


def test_boundary_is_read_from_the_header() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert boundary_of("Multipart/Related; boundary=edge") == b"edge"
    for wrong in (
        "",
        "application/dicom",
        "multipart/form-data; boundary=x",
        "multipart/related",
        'multipart/related; type="application/dicom+xml"; boundary=x',
        f"multipart/related; boundary={'x' * 300}",
    ):
        with pytest.raises(NotMultipart):
            boundary_of(wrong)
