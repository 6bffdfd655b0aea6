"""Files made to harm: each ends in a slice or a refusal, in seconds and little memory, in a process of its own."""

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
from pydicom.uid import RLELossless
from tests.unit.rounds.imaging.enhanced_scans import enhanced, item, volume
from tests.unit.rounds.imaging.factories import DATA, shared, slice_of, write

from rounds.imaging.codestream import BadCodestream, declared_size
from rounds.imaging.refusal import Reason
from rounds.imaging.series import read_slice_header
from rounds.imaging.volume import VolumeRefused, load_slice

HARNESS = Path(__file__).with_name("hostile.py")
SECONDS = float(os.environ.get("ROUNDS_FUZZ_SECONDS", "5"))
MOST_SECONDS, MOST_MB = 10.0, 700
DEFLATED, IMPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"
EMPTY_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def suffer(*words: str | Path) -> dict[str, Any]:
    """Run the harness; a crash or anything else than slices and refusals fails."""
    done = subprocess.run(
        [sys.executable, str(HARNESS), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=SECONDS + 240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["slowest_s"] < MOST_SECONDS, told
    assert told["peak_mb"] < MOST_MB, told
    return told


@pytest.mark.parametrize(
    ("folder", "least"), [("dicom-fuzz", 60), ("pydicom-testfiles", 180), ("wg04", 6), ("dcmqi", 3)]
)
def test_every_known_hostile_file_ends_in_a_slice_or_a_refusal(folder: str, least: int) -> None:
    told = suffer("corpus", shared(folder))
    assert told["files"] >= least
    assert sum(told["outcomes"].values()) >= told["files"]
    assert set(told["outcomes"]) <= {"slice", "not_dicom", "directory", *map(str, Reason)}


def test_mutants_end_in_a_slice_or_a_refusal(tmp_path: Path) -> None:
    seeds = [
        write(tmp_path / "plain.dcm", slice_of(0)),
        write(tmp_path / "implicit.dcm", slice_of(0), IMPLICIT),
        write(tmp_path / "deflated.dcm", slice_of(0), DEFLATED),
        write(tmp_path / "frames.dcm", volume(count=3)),
        write(tmp_path / "frames-implicit.dcm", volume(count=3), IMPLICIT),
        write(tmp_path / "frames-deflated.dcm", volume(count=3), DEFLATED),
    ]
    for index in (0, 3):
        packed = pydicom.dcmread(seeds[index])
        packed.compress(RLELossless)
        seeds.append(tmp_path / f"rle-{index}.dcm")
        packed.save_as(seeds[-1])
    patterns = ("wg04/CT1_J*", "dcmqi/data/segmentations/*/multiframe/mf.dcm")
    real = sorted(path for pattern in patterns for path in DATA.glob(pattern))
    told = suffer("fuzz", str(SECONDS), *seeds, *real)
    assert told["files"] > 20 * SECONDS
    assert told["outcomes"]["slice"] > 0
    assert told["outcomes"]["undecodable"] > 0


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
    outcomes = suffer("corpus", path)["outcomes"]
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
    outcomes = suffer("corpus", write(tmp_path / "bomb.dcm", made))["outcomes"]
    assert list(outcomes) in (["undecodable"], ["missing_geometry"])


def test_a_classic_bomb_that_calls_itself_multi_frame_is_refused(tmp_path: Path) -> None:
    for name, element in BOMBS.items():
        path = write(tmp_path / f"{name}.dcm", volume(count=2))
        path.write_bytes(with_element(path.read_bytes(), element()))
    outcomes = suffer("corpus", tmp_path)["outcomes"]
    assert set(outcomes) <= {"undecodable", "missing_geometry", "slice"}
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
    assert suffer("corpus", tmp_path)["outcomes"] == {"slice": 1, "undecodable": 2}


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
