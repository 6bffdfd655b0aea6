"""Enhanced multi-frame CT files made by code, of the same slices that a classic series has."""

from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from tests.unit.rounds.imaging.factories import SERIES, slice_of

ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY = "1.2.840.10008.5.1.4.1.1.2.2"

OfFrame = Callable[[Dataset, int], None]
"""Spoils the functional groups of frame `index`."""

_OWN = (
    *(
        "PatientID",
        "PatientName",
        "StudyDate",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
    ),
    *("Modality", "Manufacturer", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PatientSex", "PatientAge"),
    *("ManufacturerModelName", "StudyDescription", "InstitutionName", "AccessionNumber"),
)


def item(**values: object) -> Dataset:
    """Make a data set of these elements."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def enhanced(
    slices: Sequence[Dataset], change: OfFrame | None = None, name: str = f"{SERIES}.9000"
) -> Dataset:
    """Put classic slices into one Enhanced CT object, in the order given; rescale and type stand with each frame."""
    first = slices[0]
    made = item(**{keyword: first[keyword].value for keyword in _OWN if keyword in first})
    made.SOPClassUID = ENHANCED
    made.SOPInstanceUID = name
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.InstanceNumber = 1
    made.NumberOfFrames = len(slices)
    made.DimensionOrganizationSequence = Items([item(DimensionOrganizationUID=f"{name}.1")])
    made.DimensionIndexSequence = Items(
        item(DimensionIndexPointer=Tag(keyword), DimensionOrganizationUID=f"{name}.1")
        for keyword in ("StackID", "InStackPositionNumber", "TemporalPositionIndex")
    )
    made.SharedFunctionalGroupsSequence = Items([_shared(first)])
    made.PerFrameFunctionalGroupsSequence = Items(
        _own(one, index, change) for index, one in enumerate(slices)
    )
    made.PixelData = b"".join(one.PixelData for one in slices)
    return made


def volume(count: int = 16, step: float = 2.0, change: OfFrame | None = None) -> Dataset:
    """Make an Enhanced CT object of the slices that `write_series` writes, the topmost first."""
    return enhanced([slice_of(index, step=step) for index in reversed(range(count))], change)


def _shared(first: Dataset) -> Dataset:
    measures = item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    return item(
        PlaneOrientationSequence=Items([item(ImageOrientationPatient=first.ImageOrientationPatient)]),
        PixelMeasuresSequence=Items([measures]),
        CTReconstructionSequence=Items([item(ConvolutionKernel=first.get("ConvolutionKernel", "B31f"))]),
        CTXRayDetailsSequence=Items([item(KVP=120.0)]),
    )


def _own(one: Dataset, index: int, change: OfFrame | None) -> Dataset:
    kind = item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    rescale = item(RescaleSlope=one.RescaleSlope, RescaleIntercept=one.RescaleIntercept, RescaleType="HU")
    made = item(
        FrameContentSequence=Items(
            [
                item(
                    StackID="1",
                    InStackPositionNumber=index + 1,
                    TemporalPositionIndex=1,
                    DimensionIndexValues=[1, index + 1, 1],
                )
            ]
        ),
        PlanePositionSequence=Items([item(ImagePositionPatient=one.ImagePositionPatient)]),
        PixelValueTransformationSequence=Items([rescale]),
        CTImageFrameTypeSequence=Items([kind]),
    )
    if change is not None:
        change(made, index)
    return made
