"""What the fuzzer starts from: small files made by code, one of each kind that is read, and real ones if present."""

import random
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless
from tests.unit.rounds.imaging.enhanced_scans import volume
from tests.unit.rounds.imaging.factories import DATA, slice_of, write

from rounds.demo.dicom import write_scan
from rounds.demo.hospitals import draw_cohort
from rounds.demo.phantoms import Phantom
from rounds.demo.scanners import SCANNERS, Syntax
from rounds.imaging.dicom import quietly

REAL = ("dicom-fuzz", "pydicom-testfiles", "wg04")
IMPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

_TAGS = (
    0x00080005,
    0x00080018,
    0x00100010,
    0x00200032,
    0x00200037,
    0x00280008,
    0x00280010,
    0x00280011,
    0x00280030,
)
_MORE_TAGS = (0x00280100, 0x52009229, 0x52009230, 0x7FE00001, 0x7FE00010, 0x00090010)
_BYTES = """ffffffff feffff7f 00000080 ffff 00000000 feff00e0 feff0de000000000 feffdde000000000 53510000ffffffff
    554e0000ffffffff 4f420000ffffffff 504b0506 1b2442"""
_TEXTS = (
    "SQ,UN,OB,OW,DS,IS,US,SS,UI,PN,LO,DA,AT,UT,FD,1e308,nan,-0,\\,GB18030,ISO_IR 192,ISO 2022 IR 87,"
    "1.2.840.10008.1.2.1,1.2.840.10008.1.2.4.70,1.2.840.10008.1.2.4.90,1.2.840.10008.1.2.5,"
    "1.2.840.10008.5.1.4.1.1.2,1.2.840.10008.5.1.4.1.1.2.1,1.2.840.10008.1.3.10"
)
WORDS = (
    *(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in (*_TAGS, *_MORE_TAGS)),
    *map(bytes.fromhex, _BYTES.split()),
    *(text.encode() for text in _TEXTS.split(",")),
)
"""What fuzzed bytes are worth to be: VRs, delimiters, tags, classes, transfer syntaxes, extremes."""


def make_seeds(folder: Path) -> list[Path]:
    """Write the files made by code under `folder`; return the ones to begin with, always in the same order."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [*_phantoms(folder), *_slices(folder), *_frames(folder)]
    return [*made, _directory(folder, made[:3]), *_archives(folder, made)]


def real_seeds() -> list[Path]:
    """Return the real files that are there."""
    folders = (DATA / name for name in REAL)
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def write_words(path: Path) -> Path:
    """Write WORDS as the fuzzer reads a dictionary."""
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in WORDS)
    path.write_text("\n".join(lines) + "\n")
    return path


def _phantoms(folder: Path) -> Iterator[Path]:
    """Write a slice of each vendor in each transfer syntax that the demo knows, and a localizer."""
    planned = replace(draw_cohort(1, seed=2)[0], spacing=(4.0, 5.0, 5.0), shape=(2, 24, 24), localizer=True)
    hu = np.arange(2 * 24 * 24, dtype=np.int16).reshape(2, 24, 24) % 400 - 900
    nothing = np.zeros(hu.shape, dtype=np.uint8)
    phantom = Phantom(hu, nothing, nothing, planned.spacing, planned.diagnosis, "")
    for key in ("ct750hd", "definition", "ingenuity", "uct760"):
        for syntax in get_args(Syntax):
            room = folder / f"{key}-{syntax}"
            scanner = replace(SCANNERS[key], syntax=syntax)
            write_scan(replace(planned, scanner=scanner, protocol=scanner.protocols[0]), phantom, room)
            slices = sorted(path for path in room.iterdir() if path.name != "SCOUT_1")
            yield slices[0]
    yield room / "SCOUT_1"


def _slices(folder: Path) -> Iterator[Path]:
    plain = slice_of(0)
    for name, syntax in {"implicit": IMPLICIT, "deflated": DEFLATED}.items():
        yield write(folder / f"{name}.dcm", plain, syntax)
    pixels = np.frombuffer(plain.PixelData, dtype=np.int16).reshape(32, 48).astype(np.uint16)
    for name, code, syntax in (
        ("jpeg-ls", imagecodecs.jpegls_encode(pixels), JPEGLSLossless),
        ("jpeg-2000", imagecodecs.jpeg2k_encode(pixels, codecformat="j2k"), JPEG2000Lossless),
    ):
        packed = slice_of(0)
        packed.PixelRepresentation = 0
        packed.PixelData = encapsulate([bytes(code)])
        packed["PixelData"].VR = "OB"
        yield write(folder / f"{name}.dcm", packed, syntax)
    yield _big(folder / "big.dcm", plain)


def _big(path: Path, data: Dataset) -> Path:
    data.PixelData = data.PixelData[::-1]
    with quietly():
        data.file_meta.TransferSyntaxUID = UID(BIG)
        pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return path


def _frames(folder: Path) -> Iterator[Path]:
    for name, syntax in {"explicit": None, "implicit": IMPLICIT, "deflated": DEFLATED}.items():
        path = folder / f"frames-{name}.dcm"
        yield write(path, volume(count=3), syntax) if syntax else write(path, volume(count=3))
    packed = pydicom.dcmread(folder / "frames-explicit.dcm")
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(folder / "frames-rle.dcm")
    yield folder / "frames-rle.dcm"


def _directory(folder: Path, files: list[Path]) -> Path:
    """Write a medium with these files; return its DICOMDIR."""
    medium = FileSet()
    medium.UID = UID("2.25.1")
    for path in files:
        medium.add(path)
    medium.write(folder / "medium")
    return folder / "medium" / "DICOMDIR"


def _archives(folder: Path, made: list[Path]) -> Iterator[Path]:
    """Write a zip of stored and deflated slices, and one with that zip in it."""
    inner, outer = folder / "slices.zip", folder / "nested.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for index, path in enumerate(random.Random(3).sample(made, 4)):
            method = zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED
            entry = zipfile.ZipInfo(f"study/{index}.dcm")
            archive.writestr(entry, path.read_bytes(), compress_type=method)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("inner.zip"), inner.read_bytes())
    yield inner
    yield outer
