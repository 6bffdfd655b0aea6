"""From the slices of a stack to one volume in Hounsfield units, with the affine that places it in space."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

from rounds.imaging.codestream import JPEG_SYNTAXES, BadCodestream, declared_size
from rounds.imaging.dicom import NotDicom, Unreadable, quietly, read_dataset
from rounds.imaging.frame_pixels import FramePixels
from rounds.imaging.gate import Stack
from rounds.imaging.grid import Affine, Grid, Shape, Spacing
from rounds.imaging.jpeg_lossless import PLUGIN
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.series import SliceHeader
from rounds.imaging.tilt import AIR_HU, straighten

_MAX_HU = 32767
_TABLED_BITS = 16
_DECODERS = {
    "1.2.840.10008.1.2.4.57": PLUGIN,
    "1.2.840.10008.1.2.4.70": PLUGIN,
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
}
"""JPEG-LS: the decoder that would be tried next takes 8 s to find out that a file is truncated."""

_TISSUE_HU = (-900.0, 3000.0)

Seen = Callable[[Path, FileDataset], None]


class VolumeRefused(Exception):
    """The pixels of a stack cannot become a volume; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume: `array` int16 HU (z, y, x), `spacing` (z, y, x) in mm, `affine` 4x4 voxel (x, y, z) to RAS mm.

    z index 0 is the most inferior slice; rows and columns keep the order of the DICOM pixels.
    """

    array: npt.NDArray[np.int16] = field(repr=False)
    spacing: Spacing
    affine: Affine = field(repr=False)

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.spacing, self.affine)

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return z, y, x


def load_volume(stack: Stack, seen: Seen | None = None) -> Volume:
    """Decode every slice of a stack, one at a time, and set tilted ones upright.

    `seen` is handed each file of a single slice as it was read, before its values are parsed, so that who needs the
    file too need not read it again. Raise VolumeRefused naming the files that cannot be decoded.
    """
    grid = stack.grid
    array = np.empty(grid.shape, dtype=np.int16)
    for index, plane in enumerate(load_slices(stack.slices, seen)):
        array[index] = plane if stack.tilt is None else straighten(plane, index, grid, stack.tilt)
    return Volume(array, grid.spacing, grid.affine)


def load_slices(slices: Sequence[SliceHeader], seen: Seen | None = None) -> Iterator[npt.NDArray[np.int16]]:
    """Decode slices to HU (y, x) one at a time; a multi-frame file stays open from one of its frames to the next.

    Raise VolumeRefused.
    """
    file: FramePixels | None = None
    try:
        for one in slices:
            if one.frame is None:
                with _refusing(one.path):
                    source = read_dataset(one.path)
                if seen is not None:
                    seen(one.path, source)
                yield _decoded(source, one)
                continue
            if file is None or file.path != one.path:
                if file is not None:
                    file.close()
                with _refusing(one.path):
                    file = FramePixels(one.path)
            with _refusing(one.path):
                frame = file.frame(one.frame)
            yield _decoded(frame, one)
    finally:
        if file is not None:
            file.close()


def load_slice(one: SliceHeader) -> npt.NDArray[np.int16]:
    """Decode one slice to HU (y, x), with its own slope and intercept; raise VolumeRefused."""
    (plane,) = load_slices([one])
    return plane


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a refusal that names it."""
    try:
        yield
    except (NotDicom, Unreadable, BadCodestream) as error:
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, str(error), (path,))) from error
    except (Exception, RecursionError) as error:
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, "the pixels cannot be decoded", (path,))) from error


def _decoded(dataset: Dataset, one: SliceHeader) -> npt.NDArray[np.int16]:
    """Decode the pixels of a file, or of one frame of it, to HU (y, x); raise VolumeRefused."""
    with _refusing(one.path), quietly():
        _check_size(dataset, one)
        decoder = _DECODERS.get(one.transfer_syntax, "")
        ours = dataset.get("BitsAllocated") == _TABLED_BITS
        stored = pixel_array(
            dataset, raw=True, view_only=True, correct_unused_bits=not ours, decoding_plugin=decoder
        )
        spare = _TABLED_BITS - int(dataset.BitsStored) if ours else 0
        padding = _padding(dataset)
    if stored.shape != (one.rows, one.columns):
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, "the pixels have another size", (one.path,)))
    if one.slope is None or one.intercept is None:
        raise VolumeRefused(Refusal(Reason.MISSING_RESCALE, "", (one.path,)))
    return to_hu(stored, one.slope, one.intercept, padding, spare)


def _check_size(dataset: Dataset, one: SliceHeader) -> None:
    """Raise BadCodestream if compressed pixels declare another size than the header, before they are decoded."""
    if not str(dataset.file_meta.get("TransferSyntaxUID")).startswith(JPEG_SYNTAXES):
        return
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if declared_size(frame) != (one.rows, one.columns, 1):
        raise BadCodestream("the pixels have another size")


def to_hu(
    stored: npt.NDArray[np.generic],
    slope: float,
    intercept: float,
    padding: tuple[int, int] | None = None,
    spare: int = 0,
) -> npt.NDArray[np.int16]:
    """Turn stored values (y, x) into int16 HU, -1024 at least.

    `padding` is the inclusive range of stored values outside the reconstructed circle; they become -1024. A
    range that means -900 to 3000 HU is not believed, since it would punch holes into the patient. `spare` is how many
    high bits of a 16-bit value mean nothing (PS3.5 8.1.1).
    """
    if stored.dtype in (np.int16, np.uint16) and stored.dtype.isnative:
        table = _hu_table(stored.dtype.char, slope, intercept, padding, spare)
        return cv2.LUT(np.ascontiguousarray(stored).view(np.uint16), table).view(np.int16)
    return _as_hu(stored, slope, intercept, padding)


@lru_cache(maxsize=16)
def _hu_table(
    kind: str, slope: float, intercept: float, padding: tuple[int, int] | None, spare: int
) -> npt.NDArray[np.uint16]:
    """Return the HU of every 16-bit value, both by their bits: a slice has four times as many pixels."""
    values = np.arange(65536, dtype=np.uint16).view(kind) << spare >> spare
    return _as_hu(values, slope, intercept, padding).view(np.uint16)


def _as_hu(
    stored: npt.NDArray[np.generic], slope: float, intercept: float, padding: tuple[int, int] | None
) -> npt.NDArray[np.int16]:
    if slope == 1.0 and intercept == int(intercept):
        hu = stored.astype(np.int32)
        hu += int(intercept)
    else:
        hu = np.rint(stored.astype(np.float64) * slope + intercept).astype(np.int32)
    np.clip(hu, AIR_HU, _MAX_HU, out=hu)
    if padding is not None and not _could_be_tissue(padding, slope, intercept):
        hu[(stored >= padding[0]) & (stored <= padding[1])] = AIR_HU  # type: ignore[operator]
    return hu.astype(np.int16)


def _could_be_tissue(padding: tuple[int, int], slope: float, intercept: float) -> bool:
    low, high = sorted(value * slope + intercept for value in padding)
    return high >= _TISSUE_HU[0] and low <= _TISSUE_HU[1]


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Return the range of padding values (PS3.3 C.7.5.1.1.2), read with the sign of the pixels."""
    values: list[int] = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = dataset.get(keyword)
        if isinstance(value, int):
            values.append(_with_sign(value, dataset))
    return (min(values), max(values)) if values else None


def _with_sign(value: int, dataset: Dataset) -> int:
    bits = int(dataset.get("BitsAllocated", 16))
    if dataset.get("PixelRepresentation") == 1:
        return value - (1 << bits) if value >= 1 << (bits - 1) else value
    return value + (1 << bits) if value < 0 else value
