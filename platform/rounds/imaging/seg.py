"""Masks as DICOM SEG, one binary segment a label, bound to the slices they were drawn on (DICOM PS3.3 A.51)."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as Coded

from rounds.imaging.dicom import quietly
from rounds.imaging.terms import Code, Term

SERIES_NUMBER = 900
NO_DATE = "19000101"
_CARRIED = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)


class NoFrameOfReference(Exception):
    """The source does not say in which space it lies."""


@dataclass(frozen=True)
class Segment:
    """One label of a mask: its value there, its name, what it is, and its colour `#rrggbb`."""

    value: int
    name: str
    term: Term
    colour: str


@dataclass(frozen=True)
class Origin:
    """Where a mask comes from: its scheme, a key that no other mask has, and the model that drew it first, if any."""

    scheme: str
    title: str
    key: str
    software: str
    model: str | None = None


def encode_seg(
    mask: npt.NDArray[np.uint8],
    headers: Sequence[FileDataset],
    segments: Sequence[Segment],
    origin: Origin,
    frames: Sequence[tuple[int, int]] | None = None,
) -> bytes:
    """Write a mask (z, y, x) on the grid of the slices `headers`, which are in the same order.

    If the slices are frames of multi-frame files, `headers` are those files, and `frames` names each slice's file and
    its index there. The same mask of the same origin gives the same bytes and UIDs. Its dates are those of the study,
    which are shifted: a true date beside them would tell by how much. Raise NoFrameOfReference.
    """
    files = [_tidied(one) for one in headers]
    sources = files if frames is None else [_of_frames(files, frames)]
    if not sources[0].get("FrameOfReferenceUID"):
        raise NoFrameOfReference(
            "the scan has no frame of reference, which DICOM SEG needs: export as nifti or nrrd"
        )
    numbers = np.zeros(256, dtype=np.uint8)
    for number, segment in enumerate(segments, 1):
        numbers[segment.value] = number
    date = str(sources[0].get("StudyDate") or NO_DATE)
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Segmentation(
            source_images=sources,
            pixel_array=numbers[mask],
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, segment, origin) for number, segment in enumerate(segments, 1)
            ],
            series_instance_uid=_uid("series", sources[0].SeriesInstanceUID, origin),
            series_number=SERIES_NUMBER,
            sop_instance_uid=_uid("instance", sources[0].SeriesInstanceUID, origin),
            instance_number=1,
            manufacturer="Rounds",
            manufacturer_model_name="Rounds",
            software_versions=origin.software,
            device_serial_number="none",
            content_label=origin.scheme.upper()[:16],
            content_description=origin.title,
            series_description=f"{origin.title} (Rounds)",
            content_date=date,
            content_time="000000",
        )
        if frames is not None:
            _name_frames(made, files, frames)
        return _written(made, sources[0], _uid("dimensions", sources[0].SeriesInstanceUID, origin))


def _of_frames(files: Sequence[Dataset], frames: Sequence[tuple[int, int]]) -> Dataset:
    """Return what the writer is to see as the source: one multi-frame header, as if these were the frames of its file.

    The writer takes one such file alone, with the geometry that its frames share said once.
    """
    first, _ = frames[0]
    own = [_groups(files[file], index) for file, index in frames]
    common = Dataset()
    common.update(_shared_groups(files[first]))
    for macro in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        common[macro] = own[0][macro]
    made = Dataset()
    made.update(files[first])
    made.file_meta = files[first].file_meta
    made.add_new(0x52009229, "SQ", [common])
    made.add_new(0x52009230, "SQ", own)
    made.add_new(0x00280008, "IS", len(own))
    return made


def _groups(file: Dataset, index: int) -> Dataset:
    """Return the functional groups of a frame, its own and those that the file says once for all."""
    groups = Dataset()
    groups.update(_shared_groups(file))
    groups.update(file.PerFrameFunctionalGroupsSequence[index])
    return groups


def _shared_groups(file: Dataset) -> Dataset:
    shared = file.get("SharedFunctionalGroupsSequence") or ()
    return shared[0] if shared else Dataset()


def _name_frames(made: Segmentation, files: Sequence[Dataset], frames: Sequence[tuple[int, int]]) -> None:
    """Name the files and number their frames, where the writer has numbered the ones of the file that it saw.

    The writer gives frames of several segments one and the same item.
    """
    named: set[int] = set()
    for group in made.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence") or ():
            for item in derivation.SourceImageSequence:
                if id(item) not in named:
                    file, index = frames[int(item.ReferencedFrameNumber) - 1]
                    item.update(_reference(files[file]))
                    item.ReferencedFrameNumber = index + 1
                    named.add(id(item))
    used = sorted({file for file, _ in frames})
    (series,) = made.ReferencedSeriesSequence
    series.ReferencedInstanceSequence = [_reference(files[file]) for file in used]


def _reference(file: Dataset) -> Dataset:
    """Return an item that names a file (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = file.SOPClassUID
    item.ReferencedSOPInstanceUID = file.SOPInstanceUID
    return item


def _tidied(header: FileDataset) -> Dataset:
    """Return a header without the values of type 2 that a scanner made up and that no writer takes."""
    tidy = Dataset()
    tidy.update(header)
    tidy.file_meta = header.file_meta
    if tidy.get("PatientSex") not in {"F", "M", "O"}:
        tidy.PatientSex = ""
    for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        if keyword not in tidy:
            setattr(tidy, keyword, "")
    return tidy


def _description(number: int, segment: Segment, origin: Origin) -> SegmentDescription:
    algorithm = None
    if origin.model is not None:
        algorithm = AlgorithmIdentificationSequence(
            name=f"Rounds {origin.scheme} segmentation",
            family=codes.DCM.ArtificialIntelligence,
            version=origin.model,
        )
    drawn = SegmentAlgorithmTypeValues.SEMIAUTOMATIC if algorithm else SegmentAlgorithmTypeValues.MANUAL
    term = segment.term
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=_coded(term.category),
        segmented_property_type=_coded(term.type),
        algorithm_type=drawn,
        algorithm_identification=algorithm,
        anatomic_regions=[_coded(term.region)] if term.region else None,
        display_color=CIELabColor.from_rgb(
            *(int(segment.colour[start : start + 2], 16) for start in (1, 3, 5))
        ),
    )


def _coded(code: Code) -> Coded:
    return Coded(code.value, "SCT", code.meaning)


def _uid(kind: str, series: Any, origin: Origin) -> str:
    """Return a UID of the form 2.25 (PS3.5 B.2) that depends on the series, the mask and the software alone."""
    text = "\n".join((kind, str(series), origin.scheme, origin.key, origin.software, origin.model or ""))
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _written(made: Segmentation, source: Dataset, dimensions: str) -> bytes:
    """Write the file, with what was made up for it or taken from the clock replaced by what can be made again."""
    for keyword in _CARRIED:
        if keyword in source:
            made[keyword] = source[keyword]
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in made:
            delattr(made, keyword)
    for equipment in made.get("ContributingEquipmentSequence") or ():
        equipment.pop("ContributionDateTime", None)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
