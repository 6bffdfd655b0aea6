"""A model folder as one object, and back."""

import zipfile
from io import BytesIO
from pathlib import Path


def pack(folder: Path) -> bytes:
    """Zip a model folder without dates, so that the same model always is the same object."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return buffer.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Write a packed model folder into `folder`."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for info in archive.infolist():
            (folder / Path(info.filename).name).write_bytes(archive.read(info))
