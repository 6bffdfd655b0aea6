"""CT series made by code, with everything in their headers that must not come through."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

SECRETS = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "ERIKA-4711-77",
    "PatientBirthDate": "19270312",
    "StudyDate": "20200217",
    "AccessionNumber": "ACC-99812",
    "ReferringPhysicianName": "Doktor^Allwissend",
    "InstitutionName": "Klinikum Musterstadt",
    "InstitutionAddress": "Hauptweg 12 Musterstadt",
    "StudyID": "SID-55102",
    "StudyInstanceUID": "1.2.826.0.1.3680043.2.1125.4711",
    "OtherPatientIDs": "ALT-ERIKA-1",
    "PatientComments": "Nachbarin von Frau Beispiel",
    "StudyDescription": "Thorax Erika Musterfrau",
}


def write_series(
    folder: Path,
    *,
    slices: int,
    size: int = 96,
    leave_out: tuple[int, ...] = (),
    series: str = "1.2.826.0.1.3680043.2.1125.1",
    patient: str | None = None,
    step: float = 2.5,
) -> None:
    """Write an axial CT series of a simple chest into `folder`, in file names that are not in z order."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x / 0.9) ** 2 + (y / 0.7) ** 2 < 1
    lungs = (((abs(x) - 0.4) / 0.28) ** 2 + (y / 0.45) ** 2) < 1
    plane = np.where(lungs, -860, np.where(body, 40, -1000)).astype(np.int16)
    noise = np.random.default_rng(len(series) + slices)
    for index in range(slices):
        if index in leave_out:
            continue
        dataset = _header(series, index, step, size)
        if patient is not None:
            dataset.PatientID = patient
        hu = plane + noise.integers(-20, 20, plane.shape, dtype=np.int16)
        dataset.PixelData = (hu + 1024).astype("<u2").tobytes()
        dataset.save_as(folder / f"{(index * 7919) % 10007:05d}.dcm", enforce_file_format=True)


def _header(series: str, index: int, step: float, size: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{series}.{index + 1}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in SECRETS.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = UID(f"{series}.{index + 1}")
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = f"{series}.9999"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer = "SIEMENS"
    dataset.ManufacturerModelName = "SOMATOM Definition"
    dataset.SliceThickness = step
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [-160.0, -160.0, -300.0 + step * index]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [320 / size, 320 / size]
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = -1024
    return dataset
