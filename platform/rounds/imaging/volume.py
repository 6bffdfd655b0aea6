"""From the slices of a stack to one volume in Hounsfield units, with the affine that places it in space."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
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
_DECODERS = {
    "1.2.840.10008.1.2.4.57": PLUGIN,
    "1.2.840.10008.1.2.4.70": PLUGIN,
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
}
"""JPEG-LS: the decoder that would be tried next takes 8 s to find out that a file is truncated."""

_TISSUE_HU = (-900.0, 3000.0)


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


def load_volume(stack: Stack) -> Volume:
    """Decode every slice of a stack, one at a time, and set tilted ones upright.

    Raise VolumeRefused naming the files that cannot be decoded.
    """
    grid = stack.grid
    array = np.empty(grid.shape, dtype=np.int16)
    for index, plane in enumerate(load_slices(stack.slices)):
        array[index] = plane if stack.tilt is None else straighten(plane, index, grid, stack.tilt)
    return Volume(array, grid.spacing, grid.affine)


def load_slices(slices: Sequence[SliceHeader]) -> Iterator[npt.NDArray[np.int16]]:
    """Decode slices to HU (y, x) one at a time; a multi-frame file stays open from one of its frames to the next.

    Raise VolumeRefused.
    """
    file: FramePixels | None = None
    try:
        for one in slices:
            if one.frame is None:
                yield load_slice(one)
                continue
            if file is None or file.path != one.path:
                if file is not None:
                    file.close()
                file = _opened(one)
            yield load_slice(one, file)
    finally:
        if file is not None:
            file.close()


def _opened(one: SliceHeader) -> FramePixels:
    try:
        return FramePixels(one.path)
    except (NotDicom, Unreadable) as error:
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, str(error), (one.path,))) from error
    except (Exception, RecursionError) as error:
        raise VolumeRefused(
            Refusal(Reason.UNDECODABLE, "the pixels cannot be decoded", (one.path,))
        ) from error


def load_slice(one: SliceHeader, file: FramePixels | None = None) -> npt.NDArray[np.int16]:
    """Decode one slice to HU (y, x), with its own slope and intercept; raise VolumeRefused.

    `file` is the multi-frame file that it lies in, if that is open already.
    """
    if one.frame is not None and file is None:
        (plane,) = load_slices([one])
        return plane
    try:
        dataset = file.frame(one.frame) if file and one.frame is not None else read_dataset(one.path)
        _check_size(dataset, one)
        with quietly():
            stored = pixel_array(dataset, raw=True, decoding_plugin=_DECODERS.get(one.transfer_syntax, ""))
            padding = _padding(dataset)
    except (NotDicom, Unreadable, BadCodestream) as error:
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, str(error), (one.path,))) from error
    except (Exception, RecursionError) as error:
        raise VolumeRefused(
            Refusal(Reason.UNDECODABLE, "the pixels cannot be decoded", (one.path,))
        ) from error
    if stored.shape != (one.rows, one.columns):
        raise VolumeRefused(Refusal(Reason.UNDECODABLE, "the pixels have another size", (one.path,)))
    if one.slope is None or one.intercept is None:
        raise VolumeRefused(Refusal(Reason.MISSING_RESCALE, "", (one.path,)))
    return to_hu(stored, one.slope, one.intercept, padding)


def _check_size(dataset: Dataset, one: SliceHeader) -> None:
    """Raise BadCodestream if compressed pixels declare another size than the header, before they are decoded."""
    if not str(dataset.file_meta.get("TransferSyntaxUID")).startswith(JPEG_SYNTAXES):
        return
    with quietly():
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if declared_size(frame) != (one.rows, one.columns, 1):
        raise BadCodestream("the pixels have another size")


def to_hu(
    stored: npt.NDArray[np.generic],
    slope: float,
    intercept: float,
    padding: tuple[int, int] | None = None,
) -> npt.NDArray[np.int16]:
    """Turn stored values (y, x) into int16 HU, -1024 at least.

    `padding` is the inclusive range of stored values outside the reconstructed circle; they become -1024. A
    range that means -900 to 3000 HU is not believed, since it would punch holes into the patient.
    """
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
