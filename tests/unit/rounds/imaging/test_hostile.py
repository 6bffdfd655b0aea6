"""Files made to harm: each ends in a volume or a refusal, in seconds and little memory, in a process of its own."""

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from tests.fuzz.judge import VOLUME
from tests.fuzz.seeds import make_seeds
from tests.unit.rounds.imaging.enhanced_scans import enhanced, item, volume
from tests.unit.rounds.imaging.factories import shared, slice_of, write

from rounds.imaging.codestream import BadCodestream, declared_size
from rounds.imaging.refusal import Reason
from rounds.imaging.series import read_slice_header
from rounds.imaging.volume import VolumeRefused, load_slice

HARNESS = Path(__file__).parents[3] / "fuzz" / "judge.py"
MOST_SECONDS, MOST_MB = 10.0, 700
DEFLATED, IMPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"
EMPTY_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def suffer(*paths: Path) -> dict[str, Any]:
    """Run the harness; a crash or anything else than volumes and refusals fails."""
    done = subprocess.run(
        [sys.executable, str(HARNESS), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["slowest_s"] < MOST_SECONDS, told
    assert told["peak_mb"] < MOST_MB, told
    return told


@pytest.mark.parametrize(
    ("folder", "least"), [("dicom-fuzz", 60), ("pydicom-testfiles", 180), ("wg04", 6), ("dcmqi", 3)]
)
def test_every_known_hostile_file_ends_in_a_volume_or_a_refusal(folder: str, least: int) -> None:
    told = suffer(shared(folder))
    assert told["files"] >= least
    assert sum(told["outcomes"].values()) >= told["files"]
    assert set(told["outcomes"]) <= {VOLUME, "not_dicom", "directory", *map(str, Reason)}


def sequence(body: bytes, length: int | None = None, tag: tuple[int, int] = (0x0008, 0x1140)) -> bytes:
    """Return a sequence of undefined length, or of `length`, lying or not."""
    head = struct.pack("<HH2sHL", *tag, b"SQ", 0, UNDEFINED if length is None else length)
    return head + body + (END if length is None else b"")


def nested(depth: int) -> bytes:
    opened = struct.pack("<HH2sHLHHL", 8, 0x1140, b"SQ", 0, UNDEFINED, 0xFFFE, 0xE000, UNDEFINED)
    return opened * depth + (struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + END) * depth


def fan(depth: int, width: int) -> bytes:
    inner = sequence(fan(depth - 1, width)) if depth > 1 else b""
    return (struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner) * width


BOMBS: dict[str, Callable[[], bytes]] = {
    "nested 100000 deep": lambda: nested(100_000),
    "nested 900 deep": lambda: nested(900),
    "a million items": lambda: sequence(EMPTY_ITEM * 1_000_000),
    "a million items of a known length": lambda: sequence(EMPTY_ITEM * 1_000_000, 8_000_000),
    "a million private items": lambda: sequence(EMPTY_ITEM * 1_000_000, tag=(0x0009, 0x1010)),
    "a fan": lambda: sequence(fan(6, 8)),
    "a million elements": lambda: struct.pack("<HH2sH", 9, 0x1001, b"LO", 0) * 1_000_000,
    "a length of 4 GiB": lambda: struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, UNDEFINED - 15),
    "a sequence of 4 GiB": lambda: sequence(EMPTY_ITEM, UNDEFINED - 15),
}


def with_element(data: bytes, element: bytes) -> bytes:
    """Put an element before the patient's name."""
    at = data.index(b"\x10\x00\x10\x00PN")
    return data[:at] + element + data[at:]


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.dcm", slice_of(0))
    path.write_bytes(with_element(path.read_bytes(), BOMBS[name]()))
    outcomes = suffer(path)["outcomes"]
    assert list(outcomes) in (["undecodable"], ["missing_geometry"])


def deep(depth: int) -> Dataset:
    return item(PlanePositionSequence=[deep(depth - 1)] if depth else [item(ImagePositionPatient=[0, 0, 0])])


def huge(made: Dataset) -> None:
    made.Rows = made.Columns = 65_535


GROUPS: dict[str, Callable[[Dataset], None]] = {
    "frames without end": lambda made: many_groups(made, 65_535),
    "as many frames as are allowed, all empty": lambda made: many_groups(made, 4096),
    "deep groups": lambda made: setattr(made, "PerFrameFunctionalGroupsSequence", [deep(60)]),
    "wide groups": lambda made: setattr(
        made.PerFrameFunctionalGroupsSequence[0], "PlanePositionSequence", [Dataset() for _ in range(50_000)]
    ),
    "a frame of 4 gigapixels": huge,
}


def many_groups(made: Dataset, count: int) -> None:
    made.NumberOfFrames = count
    made.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(count)]


@pytest.mark.parametrize("name", list(GROUPS))
def test_a_multi_frame_bomb_is_refused(name: str, tmp_path: Path) -> None:
    made = enhanced([slice_of(0)])
    GROUPS[name](made)
    outcomes = suffer(write(tmp_path / "bomb.dcm", made))["outcomes"]
    assert list(outcomes) in (["undecodable"], ["missing_geometry"])


def test_a_classic_bomb_that_calls_itself_multi_frame_is_refused(tmp_path: Path) -> None:
    for name, element in BOMBS.items():
        path = write(tmp_path / f"{name}.dcm", volume(count=2))
        path.write_bytes(with_element(path.read_bytes(), element()))
    outcomes = suffer(tmp_path)["outcomes"]
    assert set(outcomes) <= {"undecodable", "missing_geometry", VOLUME}
    assert sum(outcomes.values()) == len(BOMBS)
    assert outcomes["undecodable"] >= 5


def test_deflated_bombs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.dcm", slice_of(0), DEFLATED)
    data = path.read_bytes()
    start = 144 + struct.unpack("<L", data[140:144])[0]
    plain = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    for name, element in {
        "large": struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, 200 << 20) + bytes(200 << 20),
        "wide": sequence(EMPTY_ITEM * 5_000_000),
    }.items():
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        bomb = squeeze.compress(with_element(plain, element)) + squeeze.flush()
        (tmp_path / f"{name}.dcm").write_bytes(data[:start] + bomb)
    assert suffer(tmp_path)["outcomes"] == {VOLUME: 1, "undecodable": 2}


def test_a_long_sequence_before_the_pixels_is_read(tmp_path: Path) -> None:
    """It crosses the end of the first 64 KiB, and is no bomb."""
    path = write(tmp_path / "one.dcm", slice_of(0))
    path.write_bytes(with_element(path.read_bytes(), sequence(EMPTY_ITEM * 10_000)))
    header = read_slice_header(path)
    assert (header.rows, header.columns) == (32, 48)
    assert load_slice(header).shape == (32, 48)


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL"])
def test_pixels_that_lie_about_their_size_never_reach_a_decoder(name: str, tmp_path: Path) -> None:
    """A JPEG-LS decoder ends the whole process at such a size, a JPEG 2000 decoder takes gigabytes."""
    source = shared(f"wg04/{name}")
    data = pydicom.dcmread(source)
    frame = bytearray(next(generate_frames(data.PixelData, number_of_frames=1)))
    assert declared_size(bytes(frame)) == (data.Rows, data.Columns, 1)
    if name == "CT1_J2KR":
        frame[8:16] = struct.pack(">LL", 60_000, 60_000)
    else:
        at = frame.index(b"\xff\xf7" if name == "CT1_JLSL" else b"\xff\xc3")
        frame[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    data.PixelData = encapsulate([bytes(frame)])
    data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "bomb.dcm")
    with pytest.raises(VolumeRefused) as caught:
        load_slice(read_slice_header(tmp_path / "bomb.dcm"))
    assert caught.value.refusal.detail == "the pixels have another size"


@pytest.mark.parametrize(
    ("name", "marker", "at"),
    [
        ("definition-jpeg_lossless", b"\xff\xc3", 4),
        ("jpeg-ls", b"\xff\xf7", 4),
        ("jpeg-2000", b"\xff\x51", 40),
    ],
)
def test_pixels_of_impossible_depth_never_reach_a_decoder(
    name: str, marker: bytes, at: int, tmp_path: Path
) -> None:
    """Decoders of JPEG Lossless and JPEG-LS end the whole process at such a depth."""
    (source,) = (one for one in make_seeds(tmp_path / "seeds") if name in (one.stem, one.parent.name))
    data = bytearray(source.read_bytes())
    assert suffer(source)["outcomes"] == {VOLUME: 1}
    start = data.index(marker)
    for bits in (38, 73, 255):
        data[start + at] = bits
        (tmp_path / f"{bits}.dcm").write_bytes(data)
    (tmp_path / "seeds").rename(tmp_path.parent / f"{tmp_path.name}-seeds")
    assert suffer(tmp_path)["outcomes"] == {"undecodable": 3}


def test_a_transfer_syntax_that_is_a_sequence_is_told(tmp_path: Path) -> None:
    """Its item has a number of three bytes, which cannot even be shown."""
    path = write(tmp_path / "one.dcm", slice_of(0))
    data = path.read_bytes()
    at, length = data.index(b"\x02\x00\x10\x00UI"), struct.unpack_from("<L", data, 140)[0]
    broken = struct.pack("<HH2sH3s", 0x0028, 0x0010, b"US", 3, b"abc")
    element = struct.pack("<HH2sHL", 2, 0x0010, b"SQ", 0, 8 + len(broken))
    meta = data[144:at] + element + struct.pack("<HHL", 0xFFFE, 0xE000, len(broken)) + broken
    path.write_bytes(data[:140] + struct.pack("<L", len(meta)) + meta + data[144 + length :])
    outcomes = suffer(path)["outcomes"]
    assert sum(outcomes.values()) == 1
    assert set(outcomes) <= {"undecodable", "missing_geometry", "not_ct"}


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JLSN", "CT1_JPLL", "CT1_RLE"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_truncated_pixels_are_refused_at_once(name: str, share: float, tmp_path: Path) -> None:
    data = pydicom.dcmread(shared(f"wg04/{name}"))
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "cut.dcm")
    start = time.process_time()
    with pytest.raises(VolumeRefused):
        load_slice(read_slice_header(tmp_path / "cut.dcm"))
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xc3\0\x0b\x10",
        b"\xff\xd8\xff\xda\0\x02",
        b"\xff\xd8\0\0",
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 3,
        b"\xff\x4f\xff\x51\0\x29",
        b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">LLLL", 9, 9, 1, 0) + bytes(40),
        b"\0\0\0\x0cjP  " + bytes(40),
        b"Musterfrau",
    ],
)
def test_what_is_no_codestream_is_told(data: bytes) -> None:
    with pytest.raises(BadCodestream) as caught:
        declared_size(data)
    assert "Muster" not in str(caught.value)


def test_a_header_that_lies_about_the_size_is_refused_too(tmp_path: Path) -> None:
    header = read_slice_header(write(tmp_path / "one.dcm", slice_of(0)))
    with pytest.raises(VolumeRefused):
        load_slice(replace(header, rows=31))
