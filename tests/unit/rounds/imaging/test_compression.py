"""Compression with loss: what the header says, what the sizes say, and where the limit is."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.rounds.imaging.factories import shared, slice_of, write

from rounds.imaging.compression import lost
from rounds.imaging.series import SliceHeader, read_slice_header

JPEG, J2K, J2K_LOSSLESS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.90"


def header(tmp_path: Path, **values: object) -> SliceHeader:
    data = slice_of(0)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return read_slice_header(write(tmp_path / "one", data))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"LossyImageCompression": "00"}, ""),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5"}, ""),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": ["2", "30"]}, "30.0:1, at most 10:1"),
        ({"LossyImageCompressionRatio": "30"}, "30.0:1"),
        ({"LossyImageCompression": "01"}, "by an unknown ratio"),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "-3"}, "by an unknown ratio"),
        ({"DerivationDescription": "Lossy JPEG 2000, ratio 15.5:1"}, "15.5:1"),
        ({"DerivationDescription": "Lossless, at 10:10:1 o'clock"}, ""),
        ({"DerivationDescription": "magnified 20:1"}, ""),
    ],
)
def test_the_header_tells_the_ratio(tmp_path: Path, values: dict[str, object], expected: str) -> None:
    told = lost(header(tmp_path, **values), most=10.0)
    assert told.startswith(expected) if expected else told == ""


@pytest.mark.parametrize(
    ("syntax", "flag", "size", "refused"),
    [
        (JPEG, "", 200_000, False),
        (JPEG, "", 20_000, True),
        (JPEG, "00", 20_000, True),
        (J2K, "", 20_000, True),
        (J2K, "01", 200_000, False),
        (J2K, "00", 20_000, False),
        (J2K_LOSSLESS, "", 20_000, False),
    ],
)
def test_the_sizes_tell_it_where_the_header_does_not(
    tmp_path: Path, syntax: str, flag: str, size: int, refused: bool
) -> None:
    one = replace(
        header(tmp_path), transfer_syntax=syntax, lossy=flag, rows=512, columns=512, file_bytes=size
    )
    assert bool(lost(one, most=10.0)) is refused


def test_the_real_lossy_slices() -> None:
    folder = shared("wg04")
    told = {
        name: lost(read_slice_header(folder / name), most=3.0)
        for name in ("CT1_J2KI", "CT1_JLSN", "CT1_J2KR")
    }
    assert told["CT1_J2KR"] == ""
    assert told["CT1_JLSN"].endswith("3:1 allowed")
    assert told["CT1_J2KI"].endswith("3:1 allowed")
