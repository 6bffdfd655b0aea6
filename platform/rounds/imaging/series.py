"""Finding CT series under a folder: headers only, grouped by series, whatever the files are called."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from sys import intern

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from rounds.imaging.dicom import (
    ENHANCED_CLASSES,
    NotDicom,
    Unreadable,
    quietly,
    read_header,
    regular_files,
    tags_of,
)
from rounds.imaging.enhanced import MAX_FRAMES
from rounds.imaging.frames import Frame, read_frames
from rounds.imaging.refusal import Reason, Refusal

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_RATIO = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,4})?) ?: ?1(?![\d.])")


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What one file, or one frame of it, says about itself; an absent or unusable value is None (or empty).

    `frame` is the frame's index in an enhanced multi-frame file, None in a file of one slice. The repr has no identity.
    """

    path: Path = field(repr=False)
    series_uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    patient_id: str = field(repr=False)
    instance_uid: str = field(repr=False)
    frame_of_reference: str = field(repr=False)
    study_date: str = field(repr=False)
    sop_class: str = ""
    transfer_syntax: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    burned_in: bool = False
    samples_per_pixel: int | None = None
    frames: int = 1
    rows: int | None = None
    columns: int | None = None
    pixel_spacing: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    thickness: float | None = None
    slope: float | None = None
    intercept: float | None = None
    manufacturer: str = ""
    model: str = ""
    kernel: str = ""
    kvp: float | None = None
    acquisition: int | None = None
    temporal: int | None = None
    number: int | None = None
    lossy: str = ""
    lossy_ratio: float | None = None
    file_bytes: int = field(default=0, repr=False)
    body_part: str = ""
    age: str = ""
    sex: str = ""
    frame: int | None = None
    unit: str = ""
    reformatted: bool = False
    stack: str = ""
    dimensions: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[Path, int | None]:
        """Where the slice is stored: its file, and its frame there."""
        return self.path, self.frame

    @property
    def identity(self) -> object:
        """What two copies of a slice have in common, and no two slices."""
        return (self.instance_uid, self.frame, self.position) if self.instance_uid else self.place


@dataclass(frozen=True)
class Series:
    """The slices of one SeriesInstanceUID, in the order of their paths and frames."""

    uid: str = field(repr=False)
    slices: tuple[SliceHeader, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(one.path for one in self.slices))

    @property
    def patient(self) -> str:
        """The original patient's identity, to be pseudonymised: the PatientID, or the study where there is none."""
        return patient_identity(self.slices[0].patient_id, self.slices[0].study_uid)


@dataclass(frozen=True)
class Found:
    """What lay under a folder: series, files that look like DICOM but cannot be read, and counts of the rest."""

    series: tuple[Series, ...]
    unreadable: tuple[Refusal, ...]
    not_dicom: int
    directories: int


def patient_identity(patient_id: str, study_uid: str) -> str:
    """Return what distinguishes patients of one site; a study without a PatientID is its own patient."""
    return patient_id.strip() or f"study {study_uid.strip()}"


def refusal_of(code: Reason, detail: str, slices: Iterable[SliceHeader]) -> Refusal:
    """Refuse slices: their files, each named once, and where in them they lie."""
    places = tuple(one.place for one in slices)
    return Refusal(code, detail, tuple(dict.fromkeys(path for path, _ in places)), places)


def find_series(root: Path) -> Found:
    """Read the headers of every file at or under `root` and group them; no file can stop the walk.

    Files without a SeriesInstanceUID form one group with the uid "" that the gate refuses.
    """
    groups: dict[str, list[SliceHeader]] = {}
    unreadable: list[Refusal] = []
    not_dicom = directories = 0
    for path in regular_files(root):
        try:
            headers = read_slices(path)
        except NotDicom:
            not_dicom += 1
        except Unreadable as error:
            unreadable.append(Refusal(Reason.UNDECODABLE, str(error), (path,)))
        else:
            if headers[0].sop_class == MEDIA_DIRECTORY:
                directories += 1
            else:
                groups.setdefault(headers[0].series_uid, []).extend(headers)
    series = tuple(Series(uid, tuple(slices)) for uid, slices in groups.items())
    return Found(series, tuple(unreadable), not_dicom, directories)


def read_slices(path: Path) -> list[SliceHeader]:
    """Read the header of a file, one for each frame of an enhanced CT file; raise NotDicom or Unreadable."""
    header = read_slice_header(path)
    if header.sop_class not in ENHANCED_CLASSES:
        return [header]
    frames = read_frames(path, header.frames)
    return [_of_frame(header, frame, len(frames)) for frame in frames]


def _of_frame(file: SliceHeader, frame: Frame, count: int) -> SliceHeader:
    """Describe one frame: what the file says of all, but geometry and grey values only as its functional groups do."""
    return replace(
        file,
        frame=frame.index,
        frames=1,
        image_type=tuple(intern(part) for part in frame.image_type) or file.image_type,
        pixel_spacing=frame.pixel_spacing,
        orientation=frame.orientation,
        position=frame.position,
        thickness=frame.thickness,
        slope=frame.slope,
        intercept=frame.intercept,
        unit=intern(frame.unit),
        kernel=intern(frame.kernel) or file.kernel,
        kvp=frame.kvp if frame.kvp is not None else file.kvp,
        acquisition=frame.acquisition if frame.acquisition is not None else file.acquisition,
        temporal=frame.temporal if frame.temporal is not None else file.temporal,
        number=(file.number or 0) * MAX_FRAMES + frame.index + 1,
        file_bytes=file.file_bytes // count,
        reformatted=frame.reformatted,
        stack=intern(frame.stack),
        dimensions=frame.dimensions,
    )


def read_slice_header(path: Path) -> SliceHeader:
    """Read one file's header, without the functional groups of frames; raise NotDicom or Unreadable."""
    dataset = read_header(path, _TAGS)
    if path.name.upper() == "DICOMDIR":
        return _directory(path)
    with quietly():
        return _header(path, dataset)


def _header(path: Path, dataset: FileDataset) -> SliceHeader:
    meta = getattr(dataset, "file_meta", None)
    sop_class = _text(dataset, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")
    return SliceHeader(
        path=path,
        series_uid=intern(_text(dataset, "SeriesInstanceUID")),
        study_uid=intern(_text(dataset, "StudyInstanceUID")),
        patient_id=intern(_text(dataset, "PatientID")),
        instance_uid=_text(dataset, "SOPInstanceUID"),
        frame_of_reference=intern(_text(dataset, "FrameOfReferenceUID")),
        study_date=intern(_text(dataset, "StudyDate")),
        sop_class=intern(sop_class),
        transfer_syntax=intern(_text(meta, "TransferSyntaxUID")),
        modality=intern(_text(dataset, "Modality").upper()),
        image_type=tuple(intern(part.upper()) for part in _texts(dataset, "ImageType")),
        burned_in=_text(dataset, "BurnedInAnnotation").upper() == "YES",
        samples_per_pixel=_integer(dataset, "SamplesPerPixel"),
        frames=_integer(dataset, "NumberOfFrames") or 1,
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        pixel_spacing=_numbers(dataset, "PixelSpacing"),
        orientation=_numbers(dataset, "ImageOrientationPatient"),
        position=_numbers(dataset, "ImagePositionPatient"),
        thickness=_number(dataset, "SliceThickness"),
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        manufacturer=intern(_text(dataset, "Manufacturer")),
        model=intern(_text(dataset, "ManufacturerModelName")),
        kernel=intern("/".join(_texts(dataset, "ConvolutionKernel"))),
        kvp=_number(dataset, "KVP"),
        acquisition=_integer(dataset, "AcquisitionNumber"),
        temporal=_integer(dataset, "TemporalPositionIdentifier"),
        number=_integer(dataset, "InstanceNumber"),
        lossy=intern(_text(dataset, "LossyImageCompression")),
        lossy_ratio=_stated_ratio(dataset),
        file_bytes=_size(path),
        body_part=intern(_text(dataset, "BodyPartExamined").upper()),
        age=intern(_text(dataset, "PatientAge").upper()),
        sex=intern(_text(dataset, "PatientSex").upper()),
        unit=intern(_text(dataset, "RescaleType").upper()),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stated_ratio(dataset: FileDataset) -> float | None:
    """Return by how much the pixels were compressed with loss, as the header says it: the most of its steps.

    The attribute counts; where it is absent, a ratio such as "10:1" in a derivation that speaks of loss does.
    """
    steps = [step for step in _numbers(dataset, "LossyImageCompressionRatio") if step > 0]
    if not steps:
        told = _text(dataset, "DerivationDescription")[:1024]
        steps = [float(step) for step in _RATIO.findall(told)] if "loss" in told.lower() else []
    return max(steps, default=None)


def _directory(path: Path) -> SliceHeader:
    return SliceHeader(path, "", "", "", "", "", "", sop_class=MEDIA_DIRECTORY)


_TAGS = tags_of(
    """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID PatientID StudyDate Modality
    ImageType BurnedInAnnotation SamplesPerPixel NumberOfFrames Rows Columns PixelSpacing ImageOrientationPatient
    ImagePositionPatient SliceThickness RescaleSlope RescaleIntercept RescaleType Manufacturer ManufacturerModelName
    ConvolutionKernel KVP BodyPartExamined PatientAge PatientSex AcquisitionNumber
    TemporalPositionIdentifier InstanceNumber LossyImageCompression LossyImageCompressionRatio DerivationDescription"""
)


def _value(dataset: object, keyword: str) -> object:
    """Return an element's value, or None where it is absent or its bytes make no sense."""
    try:
        tag = tag_for_keyword(keyword)
        if isinstance(dataset, Dataset) and tag is not None and tag in dataset:
            raw = dataset.get_item(tag)
            if isinstance(raw, RawDataElement):
                named = dataset.original_character_set
                encodings = (named,) if isinstance(named, str) else tuple(named)
                return _converted(raw._replace(value_tell=0), encodings)
        value: object = getattr(dataset, keyword, None)
    except (Exception, RecursionError):
        return None
    return value


@lru_cache(maxsize=2048)
def _converted(raw: RawDataElement, encodings: tuple[str, ...]) -> object:
    """Convert a value; most are the same in every slice of a series."""
    value: object = convert_raw_data_element(raw, encoding=list(encodings)).value
    return value


def _parts(dataset: object, keyword: str) -> list[object]:
    value = _value(dataset, keyword)
    if value is None:
        return []
    if isinstance(value, PersonName):  # iterates over its letters
        return [str(value)]
    if isinstance(value, str | bytes | int | float) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _texts(dataset: object, keyword: str) -> tuple[str, ...]:
    parts = [part for part in _parts(dataset, keyword) if isinstance(part, str | UID)]
    return tuple(str(part).strip(" \0") for part in parts)


def _text(dataset: object, keyword: str) -> str:
    return "\\".join(_texts(dataset, keyword))


def _numbers(dataset: FileDataset, keyword: str) -> tuple[float, ...]:
    """Return the values as floats, or nothing at all unless every one is a finite number."""
    try:
        values = tuple(float(part) for part in _parts(dataset, keyword))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return ()
    return values if all(math.isfinite(value) for value in values) else ()


def _number(dataset: FileDataset, keyword: str) -> float | None:
    values = _numbers(dataset, keyword)
    return values[0] if len(values) == 1 else None


def _integer(dataset: FileDataset, keyword: str) -> int | None:
    value = _number(dataset, keyword)
    return int(value) if value is not None else None
