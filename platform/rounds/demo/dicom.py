"""Phantoms as real DICOM CT files, headers and pixels as each vendor writes them, with identities to remove."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from rounds.demo.codecs import jpeg_lossless, run_length
from rounds.demo.hospitals import PlannedScan
from rounds.demo.phantoms import Phantom
from rounds.demo.scanners import Vendor
from rounds.imaging.grid import Grid

PADDING = -2000  # stored value outside GE's reconstruction circle

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg_lossless": JPEGLosslessSV1,
}


@dataclass(frozen=True)
class Dialect:
    """How a vendor stores pixels and marks its images; stored value = HU - intercept."""

    signed: bool
    bits: int
    intercept: int
    image_type: tuple[str, ...]
    character_set: str
    file_name: str


DIALECTS: dict[Vendor, Dialect] = {
    "GE": Dialect(True, 16, -1024, ("ORIGINAL", "PRIMARY", "AXIAL"), "ISO_IR 100", "i{odd}.CTDC.{order}"),
    "Siemens": Dialect(
        False, 12, -1024, ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"), "GB18030", "{odd:08X}.IMA"
    ),
    "Philips": Dialect(
        False, 12, -1024, ("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"), "ISO_IR 192", "IM_{order:04d}"
    ),
    "UIH": Dialect(True, 16, 0, ("ORIGINAL", "PRIMARY", "AXIAL"), "ISO_IR 192", "{order:08d}.dcm"),
}


def grid_of(planned: PlannedScan) -> Grid:
    """Return the source grid of a scan: the affine that its DICOM positions make."""
    (dz, dy, dx), (_, rows, columns) = planned.spacing, planned.shape
    x, y, z = -(columns - 1) / 2 * dx, -(rows - 1) / 2 * dy - 140.0, _lowest(planned)
    affine = np.array([[-dx, 0, 0, -x], [0, -dy, 0, -y], [0, 0, dz, z], [0, 0, 0, 1]], dtype=np.float64)
    return Grid(planned.shape, planned.spacing, affine)


def write_scan(planned: PlannedScan, phantom: Phantom, folder: Path) -> int:
    """Write the series, and a localizer beside it where one is planned, into `folder`; return how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng([planned.seed, 11]).permutation(planned.shape[0])
    left_out = planned.shape[0] // 2 if planned.missing_slice else -1
    written = 0
    for k, dataset in _slices(planned, phantom):
        if k != left_out:
            dcmwrite(folder / _file_name(planned, int(order[k])), dataset, enforce_file_format=True)
            written += 1
    if planned.localizer:
        dcmwrite(folder / "SCOUT_1", _localizer(planned, phantom), enforce_file_format=True)
        written += 1
    return written


def stored_pixels(
    hu: npt.NDArray[np.int16], vendor: Vendor
) -> npt.NDArray[np.int16] | npt.NDArray[np.uint16]:
    """Turn HU (rows, columns) into what the vendor stores; GE pads outside the circle."""
    dialect = DIALECTS[vendor]
    low, high = (0, 2**dialect.bits - 1) if not dialect.signed else (-(2**15), 2**15 - 1)
    stored = np.clip(hu.astype(np.int32) - dialect.intercept, low, high)
    if vendor != "GE":
        return stored.astype(np.int16) if dialect.signed else stored.astype(np.uint16)
    rows, columns = hu.shape
    y, x = np.ogrid[:rows, :columns]
    outside = np.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2) > min(rows, columns) / 2
    return np.where(outside, PADDING, stored).astype(np.int16)


def _lowest(planned: PlannedScan) -> float:
    return -320.0 + (planned.seed % 97)


def _uid(planned: PlannedScan, *what: object) -> UID:
    return generate_uid(entropy_srcs=[str(planned.seed), planned.patient.patient_id, *map(str, what)])


def _file_name(planned: PlannedScan, order: int) -> str:
    odd = (order * 7919 + planned.seed * 31 + 104729) % 2**31
    return DIALECTS[planned.scanner.vendor].file_name.format(order=order + 1, odd=odd)


def _slices(planned: PlannedScan, phantom: Phantom) -> Iterator[tuple[int, Dataset]]:
    """Make one data set per slice, lowest first; instance numbers count from the top, as scanners do."""
    count = planned.shape[0]
    affine = grid_of(planned).affine
    dataset = _series_header(planned)
    for k in range(count):
        z = round(float(affine[2, 3] + k * planned.spacing[0]), 4)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _uid(planned, "image", k)
        dataset.InstanceNumber = count - k
        dataset.ImagePositionPatient = [-round(float(affine[0, 3]), 4), -round(float(affine[1, 3]), 4), z]
        dataset.SliceLocation = z
        moment = planned.taken + timedelta(seconds=90 + 0.05 * (count - k))
        dataset.AcquisitionTime = dataset.ContentTime = f"{moment:%H%M%S.%f}"
        _set_pixels(dataset, stored_pixels(phantom.hu[k], planned.scanner.vendor), planned.scanner.syntax)
        yield k, dataset


def _set_pixels(
    dataset: Dataset, stored: npt.NDArray[np.int16] | npt.NDArray[np.uint16], syntax: str
) -> None:
    bits = int(dataset.BitsStored)
    if syntax == "jpeg_lossless":
        dataset.PixelData = encapsulate([jpeg_lossless(stored, bits)])
    elif syntax == "rle":
        dataset.PixelData = encapsulate([run_length(stored, bits)])
    else:
        dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW" if syntax in ("explicit", "implicit") else "OB"


def _series_header(planned: PlannedScan) -> Dataset:
    dialect = DIALECTS[planned.scanner.vendor]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[planned.scanner.syntax]
    dataset.SpecificCharacterSet = dialect.character_set
    dataset.ImageType = list(dialect.image_type)
    dataset.SOPClassUID = CTImageStorage
    _identify(dataset, planned)
    _describe_study(dataset, planned)
    _describe_acquisition(dataset, planned)
    dataset.SeriesInstanceUID = _uid(planned, "series")
    dataset.SeriesNumber = 2
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = _uid(planned, "frame")
    dataset.PositionReferenceIndicator = "SN" if planned.scanner.vendor == "GE" else ""
    _describe_pixels(dataset, planned, planned.shape[1:])
    _add_private(dataset, planned)
    return dataset


def _identify(dataset: Dataset, planned: PlannedScan) -> None:
    """Write who was scanned, where and by whom: all of it synthetic, all of it to be removed."""
    patient, written = planned.patient, planned.scanner.vendor != "GE"
    dataset.PatientName = f"{patient.name}={patient.name_ideographic}" if written else patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = f"{patient.born:%Y%m%d}"
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{patient.age:03d}Y"
    dataset.PatientAddress = patient.address
    dataset.PatientTelephoneNumbers = patient.phone
    dataset.OtherPatientIDs = patient.phone[::-1]
    dataset.ReferringPhysicianName = planned.physician
    dataset.OperatorsName = f"tech{planned.seed % 7}"
    dataset.InstitutionName = planned.hospital.name
    dataset.InstitutionAddress = planned.hospital.address
    dataset.InstitutionalDepartmentName = planned.hospital.department
    dataset.StationName = f"{planned.hospital.key}CT"[:16].upper()
    dataset.AccessionNumber = planned.accession


def _describe_study(dataset: Dataset, planned: PlannedScan) -> None:
    day = f"{planned.taken:%Y%m%d}"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = f"{planned.taken:%H%M%S}"
    dataset.SeriesTime = f"{planned.taken + timedelta(seconds=75):%H%M%S}"
    dataset.AcquisitionTime = dataset.ContentTime = dataset.SeriesTime
    dataset.Modality = "CT"
    dataset.StudyInstanceUID = _uid(planned, "study")
    dataset.StudyID = str(1000 + planned.seed % 9000)
    dataset.StudyDescription = "CT CHEST PLAIN"
    dataset.SeriesDescription = f"Chest {planned.protocol.thickness:g} {planned.protocol.kernel}"
    dataset.ProtocolName = "CHEST ROUTINE"


def _describe_acquisition(dataset: Dataset, planned: PlannedScan) -> None:
    scanner, protocol = planned.scanner, planned.protocol
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.SoftwareVersions = scanner.software
    dataset.DeviceSerialNumber = str(40_000 + sum(map(ord, planned.hospital.key + scanner.key)))
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.ScanOptions = "HELICAL MODE" if scanner.vendor == "GE" else "HELIX"
    dataset.KVP = 120
    dataset.XRayTubeCurrent = 120 + planned.seed % 160
    dataset.ExposureTime = 500
    dataset.GantryDetectorTilt = 0
    dataset.ConvolutionKernel = protocol.kernel
    dataset.SliceThickness = protocol.thickness
    dataset.ReconstructionDiameter = round(planned.spacing[1] * planned.shape[1], 2)
    if scanner.vendor != "Siemens":
        dataset.SpacingBetweenSlices = protocol.step


def _describe_pixels(dataset: Dataset, planned: PlannedScan, shape: tuple[int, int]) -> None:
    dialect = DIALECTS[planned.scanner.vendor]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape
    dataset.PixelSpacing = [planned.spacing[1], planned.spacing[2]]
    dataset.BitsAllocated = 16
    dataset.BitsStored = dialect.bits
    dataset.HighBit = dialect.bits - 1
    dataset.PixelRepresentation = int(dialect.signed)
    dataset.RescaleIntercept = dialect.intercept
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = [-600, 40], [1500, 350]
    if planned.scanner.vendor == "GE":
        dataset.add_new("PixelPaddingValue", "SS", PADDING)


def _add_private(dataset: Dataset, planned: PlannedScan) -> None:
    """Add the vendor's private blocks; one element of each holds a phone number or a name."""
    patient = planned.patient
    match planned.scanner.vendor:
        case "GE":
            block = dataset.private_block(0x0009, "GEMS_IDEN_01", create=True)
            block.add_new(0x01, "LO", "CT_LIGHTSPEED")
            block.add_new(0x30, "LO", patient.phone)
            dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x10, "US", 400)
        case "Siemens":
            block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
            block.add_new(0x08, "CS", "SOM 5")
            told = f"Patient={patient.name} Tel={patient.phone}".encode()
            block.add_new(0x10, "OB", told + b"\0" * (len(told) % 2))
        case "Philips":
            block = dataset.private_block(0x01F1, "ELSCINT1", create=True)
            block.add_new(0x01, "CS", "SPIRAL")
            item = Dataset()
            item.PatientComments = f"call {patient.phone}"
            block.add_new(0x50, "SQ", [item])
        case "UIH":
            block = dataset.private_block(0x0065, "Image Private Header", create=True)
            block.add_new(0x01, "DS", f"{planned.style.noise:.1f}")
            block.add_new(0x25, "SH", patient.phone)


def _localizer(planned: PlannedScan, phantom: Phantom) -> Dataset:
    """Make the frontal localizer that scanners send along: a projection, no volume."""
    sums = phantom.hu.astype(np.float32).mean(axis=1)[::-1]
    tall = np.repeat(sums, max(1, round(planned.spacing[0] / planned.spacing[1])), axis=0)
    dataset = _series_header(planned)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.SeriesInstanceUID = _uid(planned, "localizer")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _uid(planned, "localizer", 1)
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.SeriesDescription = "Scout"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    top = _lowest(planned) + planned.shape[0] * planned.spacing[0]
    dataset.ImagePositionPatient = [-planned.spacing[2] * planned.shape[2] / 2, 0, round(top, 3)]
    dataset.SliceThickness = 1
    if Tag("SpacingBetweenSlices") in dataset:
        del dataset.SpacingBetweenSlices
    _describe_pixels(dataset, planned, (tall.shape[0], tall.shape[1]))
    signed = DIALECTS[planned.scanner.vendor].signed
    shown = np.clip(tall + 1024, 0, 4095).astype(np.int16 if signed else np.uint16)
    _set_pixels(dataset, shown, "explicit")
    return dataset
