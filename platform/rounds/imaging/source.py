"""The source grid of a case: the voxels as scanned, read from the headers of its de-identified slices."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileDataset

from rounds.imaging.dicom import quietly
from rounds.imaging.grid import Grid

_TILT_DEGREES = 0.1


class SourceUnusable(Exception):
    """The slices kept of a case are not a plain stack of single-frame images."""


def read_headers(files: Iterable[bytes]) -> list[FileDataset]:
    """Read DICOM files given as bytes up to their pixels, in the order given."""
    with quietly():
        return [pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True) for data in files]


def frame_headers(
    headers: Sequence[FileDataset], frames: Sequence[tuple[int, int]] | None
) -> Sequence[Dataset]:
    """Return a header for each slice, as a file of its own would have it.

    `frames` has for each slice of multi-frame files, inferior first, the number of its file and its index there.
    Raise SourceUnusable.
    """
    if frames is None:
        return headers
    return [_frame_header(headers[file], index) for file, index in frames]


def _frame_header(file: FileDataset, index: int) -> Dataset:
    header = Dataset()
    header.Rows, header.Columns = file.Rows, file.Columns
    try:
        groups = file.PerFrameFunctionalGroupsSequence[index], *file.SharedFunctionalGroupsSequence
        for group, keyword in _GEOMETRY:
            macro = next(one[group].value[0] for one in groups if group in one)
            setattr(header, keyword, macro[keyword].value)
    except (AttributeError, LookupError, StopIteration) as error:
        raise SourceUnusable("a frame of the source has no geometry") from error
    return header


_GEOMETRY = (
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ("PixelMeasuresSequence", "PixelSpacing"),
)


def source_grid(headers: Sequence[Dataset]) -> Grid:
    """Return the grid of slices that are sorted from inferior to superior, as the gate sees it.

    With a tilted gantry the third axis leans with the slices and is no longer their normal; the spacing along z is
    still the distance between slices along the normal. Raise SourceUnusable.
    """
    first = headers[0] if headers else None
    if first is None or len(headers) < 2 or any(int(one.get("NumberOfFrames") or 1) != 1 for one in headers):
        raise SourceUnusable("the source is not one file a slice: its grid is not known here")
    along_x, along_y = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_step, column_step = (float(step) for step in first.PixelSpacing)
    up = np.cross(along_x, along_y)
    up = up if up[2] > 0 else -up
    points = np.array([one.ImagePositionPatient for one in headers], dtype=np.float64)
    rise = points[-1] - points[0]
    step = round(float(rise @ up) / (len(headers) - 1), 6)
    if step <= 0:
        raise SourceUnusable("the slices of the source are not in order")
    affine = np.eye(4)
    affine[:3, 0] = along_x * column_step
    affine[:3, 1] = along_y * row_step
    affine[:3, 2] = _through_plane(rise, up, step, len(headers))
    affine[:3, 3] = points[0]
    affine[:2] *= -1
    affine += 0.0
    return Grid((len(headers), int(first.Rows), int(first.Columns)), (step, row_step, column_step), affine)


def _through_plane(
    rise: npt.NDArray[np.float64], up: npt.NDArray[np.float64], step: float, count: int
) -> npt.NDArray[np.float64]:
    """Return the step to the next slice (mm, LPS): the normal, or what the positions say where the gantry is tilted."""
    height = float(rise @ up)
    sideways = rise - height * up
    if float(np.degrees(np.arctan2(np.linalg.norm(sideways), height))) <= _TILT_DEGREES:
        return np.asarray(up * step)
    return np.asarray(up * step + sideways / (count - 1))
