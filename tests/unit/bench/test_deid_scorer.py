"""The scorer of bench-deid can fail: files left as they were, or emptied, pass little; ours pass everything."""

import io
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.bench.identities import Kind, identity, plant
from tests.bench.scorer import Planted, Score, score
from tests.unit.rounds.imaging.factories import slice_of, write

from rounds.imaging.deid import deidentify
from rounds.imaging.dicom import quietly

KEY = bytes(range(32))


def planted(folder: Path) -> list[Planted]:
    """Plant two patients in two slices each."""
    files = []
    with quietly():
        for seed in (1, 2):
            for number in (0, 1):
                data = slice_of(number)
                who = identity(seed)
                checks = plant(data, who, number)
                original = write(folder / f"{seed}{number}", data).read_bytes()
                files.append(Planted(str(seed), original, checks, (who.family.encode(),)))
    return files


def scored(folder: Path, change: Callable[[Path], bytes | None]) -> Score:
    files = planted(folder)
    for index, one in enumerate(files):
        path = folder / f"file{index}"
        path.write_bytes(one.original)
        one.result = change(path)
    with quietly():
        return score(files)


def test_ours_passes_everything(tmp_path: Path) -> None:
    total = scored(tmp_path, lambda path: deidentify(path, KEY, "north").data)
    assert total.share == 1.0, total.failed
    assert set(total.required) == set(Kind) - {Kind.PIXELS_HIDDEN}


def test_doing_nothing_fails_what_hides_and_passes_what_keeps(tmp_path: Path) -> None:
    total = scored(tmp_path, lambda path: path.read_bytes())
    assert total.passed[Kind.TEXT_REMOVED] == total.passed[Kind.UID_CHANGED] == 0
    assert total.passed[Kind.DATE_SHIFTED] == 0
    assert total.passed[Kind.TAG_RETAINED] == total.required[Kind.TAG_RETAINED] > 0
    assert total.passed[Kind.PIXELS_RETAINED] == 4


@pytest.mark.parametrize("result", [None, b"broken"])
def test_a_file_that_is_not_written_passes_nothing(tmp_path: Path, result: bytes | None) -> None:
    total = scored(tmp_path, lambda path: result)
    keeping = (
        Kind.TEXT_RETAINED,
        Kind.TAG_RETAINED,
        Kind.PIXELS_RETAINED,
        Kind.UID_CONSISTENT,
        Kind.DATE_SHIFTED,
    )
    assert all(total.passed[kind] == 0 < total.required[kind] for kind in keeping)


def test_uneven_shifts_and_broken_references_are_seen(tmp_path: Path) -> None:
    def careless(path: Path) -> bytes:
        data: Dataset = pydicom.dcmread(io.BytesIO(deidentify(path, KEY, "north").data))
        data.SeriesDate = "20010101"
        data.SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.1"
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, data, enforce_file_format=True)
        return buffer.getvalue()

    total = scored(tmp_path, careless)
    assert total.passed[Kind.DATE_SHIFTED] < total.required[Kind.DATE_SHIFTED]
    assert total.passed[Kind.UID_CONSISTENT] < total.required[Kind.UID_CONSISTENT]
    assert total.passed[Kind.TEXT_REMOVED] == total.required[Kind.TEXT_REMOVED]
