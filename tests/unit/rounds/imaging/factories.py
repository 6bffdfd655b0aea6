"""Small CT files made by code: one slice, or a folder with a series, any tag overridden or left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from rounds.imaging.dicom import quietly

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SERIES = "1.2.826.0.1.3680043.9.1000.1"
STUDY = "1.2.826.0.1.3680043.9.1000.2"
FRAME = "1.2.826.0.1.3680043.9.1000.3"

Change = Callable[[Dataset, int], None]


def shared(folder: str) -> Path:
    """Return a folder of the real data, or skip the test that asked."""
    path = DATA / folder
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{folder}, which is not part of the repository")
    return path


def slice_of(index: int, pixels: npt.NDArray[np.int16] | None = None, step: float = 2.0) -> Dataset:
    """Make the data set of slice `index` (0 the lowest) of an axial CT series, 32 x 48 pixels of 0.8 x 0.7 mm."""
    if pixels is None:
        pixels = np.full((32, 48), index, dtype=np.int16)
    data = Dataset()
    data.SOPClassUID = CT_CLASS
    data.SOPInstanceUID = f"{SERIES}.{index + 1}"
    data.StudyInstanceUID = STUDY
    data.SeriesInstanceUID = SERIES
    data.FrameOfReferenceUID = FRAME
    data.PatientID = "MRN-0042-XY"
    data.PatientName = "Musterfrau^Erika"
    data.StudyDate = "20200305"
    data.Modality = "CT"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer = "SIEMENS"
    data.SliceThickness = str(step)
    data.InstanceNumber = str(1000 - index)
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-10.0, -20.0, -300.0 + step * index]
    data.PixelSpacing = [0.8, 0.7]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = 1
    data.RescaleSlope = "1"
    data.RescaleIntercept = "-1024"
    data.PixelData = pixels.tobytes()
    return data


def write(path: Path, data: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = UID(data.get("SOPClassUID", CT_CLASS))
    data.file_meta.MediaStorageSOPInstanceUID = UID(data.get("SOPInstanceUID") or "1.2.3")
    data.file_meta.TransferSyntaxUID = UID(syntax)
    with quietly():
        pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    count: int = 16,
    change: Change | None = None,
    step: float = 2.0,
    skip: frozenset[int] = frozenset(),
) -> Path:
    """Write a series whose file names run against z; `change(data, index)` may spoil any slice."""
    for index in range(count):
        if index in skip:
            continue
        data = slice_of(index, step=step)
        if change is not None:
            change(data, index)
        write(folder / f"IM{count - index:04d}", data)
    return folder
