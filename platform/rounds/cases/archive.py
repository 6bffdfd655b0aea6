"""The de-identified source series of a case as one object: a plain zip of DICOM files in z order.

Where files hold several frames, `frames.json` beside them says for each slice in z order its file's number and frame.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

FRAMES = "frames.json"


def pack(files: Iterable[bytes], frames: Sequence[tuple[int, int]] | None = None) -> bytes:
    """Zip DICOM files, inferior first, as 0000.dcm and so on; stored as they are and without dates of the day.

    `frames` are the slices (file number, frame index) of multi-frame files, inferior first.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, data in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{index:04d}.dcm"), data)
        if frames is not None:
            archive.writestr(zipfile.ZipInfo(FRAMES), json.dumps([list(one) for one in frames]))
    return buffer.getvalue()


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
