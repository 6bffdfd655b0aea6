"""Masks as .seg.nrrd bytes: NRRD with gzip, in RAS, and the names and colours that 3D Slicer reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from isal import igzip

from rounds.imaging.grid import Affine

_LEVEL = 3


@dataclass(frozen=True)
class NamedValue:
    """A label value of a mask, what it is called, and its colour `#rrggbb`."""

    value: int
    name: str
    colour: str


def encode_nrrd(mask: npt.NDArray[np.uint8], affine: Affine, labels: Sequence[NamedValue]) -> bytes:
    """Write a mask of label values (z, y, x) as NRRD; the same mask always gives the same bytes.

    The header follows the NRRD format definition, version 5; the fields `SegmentN_*` are those of 3D Slicer.
    """
    columns = affine[:3, :3].T
    lines = [
        "NRRD0005",
        "type: uint8",
        "dimension: 3",
        "space: right-anterior-superior",
        "sizes: " + " ".join(str(size) for size in mask.shape[::-1]),
        "space directions: " + " ".join(_vector(column) for column in columns),
        "kinds: domain domain domain",
        "encoding: gzip",
        "space origin: " + _vector(affine[:3, 3]),
        "Segmentation_MasterRepresentation:=Binary labelmap",
    ]
    for index, label in enumerate(labels):
        lines += [
            f"Segment{index}_ID:=Segment_{label.value}",
            f"Segment{index}_Name:={label.name}",
            f"Segment{index}_LabelValue:={label.value}",
            f"Segment{index}_Layer:=0",
            f"Segment{index}_Color:={_colour(label.colour)}",
        ]
    data: bytes = igzip.compress(np.ascontiguousarray(mask).tobytes(), _LEVEL, mtime=0)
    return ("\n".join(lines) + "\n\n").encode("ascii") + data


def _vector(values: npt.NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _colour(text: str) -> str:
    """Write `#rrggbb` as three shares of one."""
    return " ".join(f"{int(text[start : start + 2], 16) / 255:.6f}" for start in (1, 3, 5))
