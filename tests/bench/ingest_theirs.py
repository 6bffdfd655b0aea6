"""The same ingest from the usual parts, as a careful engineer would write it: ingest_theirs.py JOB.json.

dicom-anonymizer, SimpleITK's series reader and BSpline, Pillow, minio. It knows nothing of Rounds and runs in an
environment of its own (rivals.txt). It writes the same objects: a zip of the de-identified slices, the reading volume,
a PNG for each of its slices. It has no gate, no second check, no look for lungs, no database and no hashes.
"""

import io
import json
import os
import sys
import tempfile
import time
import uuid
import warnings
import zipfile
from multiprocessing import Pool
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import SimpleITK as sitk  # noqa: N813
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file
from minio import Minio
from PIL import Image

WINDOW = (-1024.0, 350.0)
THIN_MM, STEP_MM = 2.0, 2.5


def take(folder: str) -> int:
    """Take one series in; return how many slices it had."""
    with tempfile.TemporaryDirectory() as scratch:
        clean = Path(scratch, "clean")
        clean.mkdir()
        for index, path in enumerate(sorted(Path(folder).iterdir())):
            anonymize_dicom_file(str(path), str(clean / f"{index:04d}.dcm"))
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(clean))
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(names)
        volume = reading_grid(reader.Execute())
        target = Path(scratch, "volume.nii.gz")
        sitk.WriteImage(volume, str(target))
        send(target.read_bytes(), ".nii.gz")
        for plane in sitk.GetArrayViewFromImage(volume):
            send(png(plane), ".png")
        packed = Path(scratch, "dicom.zip")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for index, name in enumerate(names):
                archive.write(name, f"{index:04d}.dcm")
        send(packed.read_bytes(), ".zip")
    return len(names)


def reading_grid(volume: Any) -> Any:
    """Resample thin slices to 2.5 mm with a cubic B-spline, the plane as it is."""
    spacing, size = volume.GetSpacing(), volume.GetSize()
    if spacing[2] >= THIN_MM:
        return sitk.Cast(volume, sitk.sitkInt16)
    count = round(size[2] * spacing[2] / STEP_MM)
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing((*spacing[:2], STEP_MM))
    resampler.SetSize((*size[:2], count))
    resampler.SetOutputOrigin(volume.GetOrigin())
    resampler.SetOutputDirection(volume.GetDirection())
    resampler.SetInterpolator(sitk.sitkBSpline)
    resampler.SetDefaultPixelValue(-1024)
    resampler.SetOutputPixelType(sitk.sitkInt16)
    return resampler.Execute(volume)


def png(plane: Any) -> bytes:
    low, high = WINDOW
    grey = np.clip((plane.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


def send(data: bytes, suffix: str) -> None:
    store().put_object(os.environ["ROUNDS_S3_BUCKET"], f"{uuid.uuid4()}{suffix}", io.BytesIO(data), len(data))


_clients: dict[int, Any] = {}


def store() -> Any:
    """Return this process's client."""
    if os.getpid() not in _clients:
        _clients[os.getpid()] = Minio(
            urlsplit(os.environ["ROUNDS_S3_URL"]).netloc,
            access_key=os.environ["ROUNDS_S3_ACCESS_KEY"],
            secret_key=os.environ["ROUNDS_S3_SECRET_KEY"],
            secure=False,
            region="us-east-1",
        )
    return _clients[os.getpid()]


def alone() -> None:
    """Use one thread in a process of a pool that has one for each core."""
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def memory() -> dict[str, int]:
    """Return the resident bytes now and at most (since the mark was last reset)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    alone()
    for folder in job.get("warm", []):
        take(folder)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = memory(), time.process_time()
    if job["workers"] > 1:
        with Pool(job["workers"], alone) as pool:
            taken = sum(pool.imap_unordered(take, job["folders"]))
            pool.close()
            pool.join()  # their time is counted once they have ended
    else:
        taken = sum(map(take, job["folders"]))
    spent = time.process_time() - start
    after = memory()
    result = {"slices": taken, "cpu": spent, "resting": before["VmRSS"], "peak": after["VmHWM"]}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
