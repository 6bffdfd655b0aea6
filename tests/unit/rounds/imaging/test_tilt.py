"""A tilted gantry: what was scanned comes to lie where it was in the patient, and it is told that it was moved."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from tests.unit.rounds.imaging.factories import Change, shared, slice_of, write, write_series

from rounds.imaging.gate import Limits, Stack, examine
from rounds.imaging.series import Series, find_series
from rounds.imaging.volume import load_volume

COUNT = 24


def tilting(degrees: float, around_x: bool = True, aside: float = 0.0) -> Change:
    """Tilt the slices while the table moves straight along z (and `aside` mm along x a slice), and draw the patient."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def change(data: Dataset, index: int) -> None:
        along = [1, 0, 0, 0, cos, -sin] if around_x else [cos, 0, -sin, 0, 1, 0]
        data.ImagePositionPatient = [-10.0 + aside * index, -20.0, -300.0 + 2 * index]
        data.ImageOrientationPatient = [round(value, 6) for value in along]
        row, column = np.mgrid[0:32, 0:48]
        x_axis, y_axis = np.array(along).reshape(2, 3)
        place = np.array(data.ImagePositionPatient, dtype=float)[:, None, None]
        place = place + x_axis[:, None, None] * column * 0.7 + y_axis[:, None, None] * row * 0.8
        data.PixelData = (patient(*place) + 1024).astype("<i2").tobytes()

    return change


def patient(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], z: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the HU at places in the patient, LPS mm: a soft ball in air."""
    far = ((x - 7) ** 2 + (y + 8) ** 2 + (z + 277) ** 2) / 20
    return np.asarray(np.rint(1500 * np.exp(-far) - 1024), dtype=np.float64)


def stack_of(folder: Path) -> Stack:
    (series,) = find_series(folder).series
    verdict = examine(series)
    assert verdict.refusals == ()
    (stack,) = verdict.stacks
    return stack


@pytest.mark.parametrize(
    ("degrees", "around_x", "aside"), [(12, True, 0.0), (-25, True, 0.3), (8, False, 0.0), (-8, False, -0.2)]
)
def test_every_voxel_lies_where_it_was_in_the_patient(
    tmp_path: Path, degrees: float, around_x: bool, aside: float
) -> None:
    stack = stack_of(write_series(tmp_path, COUNT, tilting(degrees, around_x, aside)))
    assert stack.tilt is not None
    volume = load_volume(stack)
    assert volume.array.shape == stack.grid.shape
    z, y, x = np.indices(volume.array.shape).astype(float)
    ras = np.einsum("ij,jzyx->izyx", volume.affine[:3], np.stack([x, y, z, np.ones_like(x)]))
    seen = volume.array > -1020
    expected = patient(-ras[0], -ras[1], ras[2])
    assert seen.sum() > 2500
    error = np.abs(volume.array - expected)[seen]
    assert np.percentile(error, 99) < 12
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(np.abs(axes.T @ axes), np.eye(3), atol=1e-5)


def test_nothing_of_the_slices_is_cut_off(tmp_path: Path) -> None:
    for index in range(16):
        data = slice_of(index, np.full((32, 48), 1024 + 500, dtype=np.int16))
        data.ImageOrientationPatient = [1, 0, 0, 0, math.cos(0.3), -math.sin(0.3)]
        write(tmp_path / f"{index}", data)
    volume = load_volume(stack_of(tmp_path))
    kept = (volume.array > -262).sum(axis=(1, 2))
    assert (abs(kept - 32 * 48) <= 48).all()
    assert (volume.array.max(axis=(1, 2)) >= 500).all()
    assert volume.array.min() == -1024


def test_a_correction_is_told_and_an_upright_gantry_needs_none(tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path / "tilted", COUNT, tilting(12)))
    (told,) = stack.corrections
    assert "gantry tilt of 12.0 degrees" in told
    upright = stack_of(write_series(tmp_path / "upright", COUNT))
    assert (upright.tilt, upright.corrections) == (None, ())


def test_a_whole_oblique_scan_is_not_sheared(tmp_path: Path) -> None:
    """Slices that are stacked along their own normal need no correction, however they lie."""
    sin, cos = math.sin(0.2), math.cos(0.2)

    def oblique(data: Dataset, index: int) -> None:
        data.ImageOrientationPatient = [1, 0, 0, 0, cos, -sin]
        data.ImagePositionPatient = [0.0, 2 * index * sin, 2 * index * cos]

    assert stack_of(write_series(tmp_path, change=oblique)).tilt is None


def test_the_real_tilted_scan_is_set_upright() -> None:
    (series,) = find_series(shared("dicom2nifti/failing/gantrytilting")).series
    as_ct = [replace(one, modality="CT", sop_class="", slope=1.0, intercept=0.0) for one in series.slices]
    (stack,) = examine(Series(series.uid, tuple(as_ct)), Limits(min_slices=4)).stacks
    assert stack.tilt is not None
    volume = load_volume(stack)
    last = stack.slices[-1]
    middle = np.array(last.position)
    along_x, along_y = np.array(last.orientation).reshape(2, 3)
    middle += along_x * last.pixel_spacing[1] * ((last.columns or 0) // 2)
    middle += along_y * last.pixel_spacing[0] * ((last.rows or 0) // 2)
    voxel = np.linalg.inv(volume.affine) @ [-middle[0], -middle[1], middle[2], 1]
    assert voxel[2] == pytest.approx(len(stack.slices) - 1, abs=1e-3)
    assert (voxel[:3] < np.array(volume.array.shape)[::-1]).all()
    assert (voxel[:3] > -1e-3).all()
