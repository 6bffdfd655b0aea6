"""What an enhanced CT file says about each of its frames, in its functional groups (DICOM PS3.3 C.7.6.16)."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from rounds.imaging.dicom import Unreadable
from rounds.imaging.enhanced import DIMENSIONS, MAX_FRAMES, PER_FRAME, SHARED, FrameFile, Item, Layout

_SOUND_CONTRASTS = {"NONE", "FILTERED", "ENERGY_PROP_WT"}
_MAX_VALUES = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame's own attributes; absent or unusable ones are None or empty.

    `reformatted` says that the frame was computed from others. `stack` and `dimensions` (index values without those of
    the position) tell volumes apart that lie at the same place.
    """

    index: int
    position: tuple[float, ...] = field(default=(), repr=False)
    orientation: tuple[float, ...] = ()
    pixel_spacing: tuple[float, ...] = ()
    thickness: float | None = None
    slope: float | None = None
    intercept: float | None = None
    unit: str = ""
    image_type: tuple[str, ...] = ()
    reformatted: bool = False
    kernel: str = ""
    kvp: float | None = None
    acquisition: int | None = None
    temporal: int | None = None
    stack: str = ""
    dimensions: tuple[int, ...] = ()


def read_frames(path: Path, count: int) -> list[Frame]:
    """Read what is said about each of the `count` frames of a file; nothing of any if there are no groups.

    Raise Unreadable if the groups cannot be parsed, are more or fewer than the frames, or too many.
    """
    if not 1 <= count <= MAX_FRAMES:
        raise Unreadable("a multi-frame file of more frames than any CT scan, or none")
    with FrameFile(path) as file:
        layout = file.layout
    own = layout.groups.get(PER_FRAME, ())
    if not own:
        return [Frame(0)]
    if len(own) != count:
        raise Unreadable("the number of frames is not that of their functional groups")
    shared: Sequence[Item] = layout.groups.get(SHARED, ())
    common: Item = shared[0] if shared else {}
    told = _Told(layout.little, _telling_dimensions(layout))
    return [told.frame(index, item, common) for index, item in enumerate(own)]


class _Told:
    """Reads values out of functional groups in the byte order of one file."""

    def __init__(self, little: bool, telling: tuple[int, ...]) -> None:
        self._order = "<" if little else ">"
        self._telling = telling

    def frame(self, index: int, own: Item, common: Item) -> Frame:
        groups = own, common
        kind = self._texts(groups, "FrameType")
        volumetric = self._text(groups, "VolumetricProperties")
        technique = self._text(groups, "VolumeBasedCalculationTechnique")
        values = self._integers(groups, "DimensionIndexValues")
        return Frame(
            index,
            position=self._numbers(groups, "ImagePositionPatient"),
            orientation=self._numbers(groups, "ImageOrientationPatient"),
            pixel_spacing=self._numbers(groups, "PixelSpacing"),
            thickness=self._number(groups, "SliceThickness"),
            slope=self._number(groups, "RescaleSlope"),
            intercept=self._number(groups, "RescaleIntercept"),
            unit=self._text(groups, "RescaleType").upper(),
            image_type=kind,
            reformatted=_reformatted(kind, volumetric, technique),
            kernel="/".join(self._texts(groups, "ConvolutionKernel", upper=False)),
            kvp=self._number(groups, "KVP"),
            acquisition=self._integer(groups, "FrameAcquisitionNumber", "AcquisitionNumber"),
            temporal=self._integer(groups, "TemporalPositionIndex", "TemporalPositionIdentifier"),
            stack=self._text(groups, "StackID"),
            dimensions=tuple(values[at] for at in self._telling if at < len(values)),
        )

    def _found(self, groups: tuple[Item, Item], keyword: str) -> bytes:
        """Return an attribute's bytes from the first of its functional groups that has it, the frame's own first."""
        tag, places = _PLACES[keyword]
        for place in places:
            for group in groups:
                items = group.get(place)
                value = items[0].get(tag) if isinstance(items, tuple) and items else None
                if isinstance(value, bytes) and value:
                    return value
        return b""

    def _texts(self, groups: tuple[Item, Item], keyword: str, upper: bool = True) -> tuple[str, ...]:
        given = self._found(groups, keyword)[:1024].decode("latin-1").strip(" \0")
        parts = tuple(part.strip(" \0") for part in given.split("\\")) if given else ()
        return tuple(part.upper() for part in parts) if upper else parts

    def _text(self, groups: tuple[Item, Item], keyword: str) -> str:
        return "\\".join(self._texts(groups, keyword))

    def _numbers(self, groups: tuple[Item, Item], keyword: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in self._texts(groups, keyword)[:_MAX_VALUES])
        except ValueError:
            return ()
        return values if all(math.isfinite(value) for value in values) else ()

    def _number(self, groups: tuple[Item, Item], keyword: str) -> float | None:
        values = self._numbers(groups, keyword)
        return values[0] if len(values) == 1 else None

    def _integers(self, groups: tuple[Item, Item], keyword: str) -> tuple[int, ...]:
        """Return binary integers: of two bytes where there are two, otherwise of four."""
        value = self._found(groups, keyword)[: 4 * _MAX_VALUES]
        code, size = ("H", 2) if len(value) == 2 else ("L", 4)
        return struct.unpack(f"{self._order}{len(value) // size}{code}", value[: len(value) // size * size])

    def _integer(self, groups: tuple[Item, Item], binary: str, text: str) -> int | None:
        """Return a frame's binary integer, or the decimal text that a converted classic slice had instead."""
        values = self._integers(groups, binary)
        if values:
            return values[0]
        number = self._number(groups, text)
        return int(number) if number is not None else None


def _reformatted(kind: tuple[str, ...], volumetric: str, technique: str) -> bool:
    """Tell by its type (PS3.3 C.8.16.1) whether a frame was computed from others, beyond what a filter does."""
    contrast = kind[3] if len(kind) > 3 else "NONE"
    computed = kind[:1] == ("DERIVED",) and contrast not in _SOUND_CONTRASTS
    return computed or volumetric in {"SAMPLED", "DISTORTED"} or technique not in {"", "NONE"}


def _telling_dimensions(layout: Layout) -> tuple[int, ...]:
    """Return which of the dimension indices say something else than where a frame lies."""
    order = "<" if layout.little else ">"
    telling: list[int] = []
    for index, item in enumerate(layout.groups.get(DIMENSIONS, ())):
        pointer = item.get(_POINTER)
        if isinstance(pointer, bytes) and len(pointer) == 4:
            group, number = struct.unpack(order + "HH", pointer)
            if group << 16 | number not in _WHERE:
                telling.append(index)
    return tuple(telling)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


_CONVERTED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")


def _places(table: dict[str, str]) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return by keyword its tag and the functional groups to look for it in: its own, then a converted slice's rest."""
    return {
        keyword: (_tag(keyword), tuple(_tag(name) for name in (group, *_CONVERTED)))
        for group, keywords in table.items()
        for keyword in keywords.split()
    }


_PLACES = _places(
    {
        "PlanePositionSequence": "ImagePositionPatient",
        "PlaneOrientationSequence": "ImageOrientationPatient",
        "PixelMeasuresSequence": "PixelSpacing SliceThickness",
        "PixelValueTransformationSequence": "RescaleSlope RescaleIntercept RescaleType",
        "CTImageFrameTypeSequence": "FrameType VolumetricProperties VolumeBasedCalculationTechnique",
        "CTReconstructionSequence": "ConvolutionKernel",
        "CTXRayDetailsSequence": "KVP",
        "FrameContentSequence": (
            "StackID TemporalPositionIndex DimensionIndexValues FrameAcquisitionNumber AcquisitionNumber"
            " TemporalPositionIdentifier"
        ),
    }
)
_POINTER = _tag("DimensionIndexPointer")
_WHERE = {_tag(keyword) for keyword in ("InStackPositionNumber", "ImagePositionPatient", "SliceLocation")}
