"""The de-identified source series of a case as one object: a plain zip of DICOM files in z order."""

import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO


def pack(files: Iterable[bytes]) -> bytes:
    """Zip DICOM files, inferior first, as 0000.dcm and so on; stored as they are and without dates of the day."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, data in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{index:04d}.dcm"), data)
    return buffer.getvalue()


def unpack(data: bytes) -> Iterator[bytes]:
    """Yield the DICOM files of a series, inferior first."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for name in sorted(archive.namelist()):
            yield archive.read(name)
