"""The de-identified source series of a case as one object: a plain zip of DICOM files in z order.

Where files hold several frames, `frames.json` beside them says for each slice in z order its file's number and frame.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from io import BufferedRandom, BytesIO

FRAMES = "frames.json"


class Packing:
    """A zip that is being written: files stored as they are, inferior first, as 0000.dcm and so on, without dates."""

    def __init__(self, file: BufferedRandom) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._count = 0

    def add(self, data: bytes) -> None:
        self._archive.writestr(zipfile.ZipInfo(f"{self._count:04d}.dcm"), data)
        self._count += 1

    def close(self, frames: Sequence[tuple[int, int]] | None = None) -> None:
        """Finish the zip; `frames` are the slices (file number, frame index) of multi-frame files, inferior first."""
        if frames is not None:
            self._archive.writestr(zipfile.ZipInfo(FRAMES), json.dumps([list(one) for one in frames]))
        self._archive.close()


def unpack(data: bytes) -> Iterator[bytes]:
    """Yield the DICOM files of a series, inferior first."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for name in sorted(archive.namelist()):
            if name != FRAMES:
                yield archive.read(name)


def frames_of(data: bytes) -> list[tuple[int, int]] | None:
    """Return the slices of packed multi-frame files, inferior first, or None where each file is a slice."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if FRAMES not in archive.namelist():
            return None
        return [(int(file), int(frame)) for file, frame in json.loads(archive.read(FRAMES))]
