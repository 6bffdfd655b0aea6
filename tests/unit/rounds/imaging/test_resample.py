"""Resampling: exact spacing, nothing moves in space, no ringing in flat parts, masks there and back."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from rounds.imaging.grid import Affine, Grid
from rounds.imaging.resample import resample, to_reading_grid, to_training_grid
from rounds.imaging.resample_mask import resample_mask
from rounds.imaging.volume import Volume

Array = npt.NDArray[Any]


def volume_of(array: Array, spacing: tuple[float, float, float]) -> Volume:
    z, y, x = spacing
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = (170.5, 160.25, -301.7)
    return Volume(array.astype(np.int16), spacing, affine)


def positions(shape: tuple[int, int, int], affine: Affine) -> Array:
    """Return the RAS position in mm of every voxel, (3, z, y, x)."""
    z, y, x = np.indices(shape)
    turned: Array = np.einsum("ij,jzyx->izyx", affine[:3, :3], np.stack([x, y, z]).astype(float))
    return turned + affine[:3, 3, None, None, None]


def ramp(shape: tuple[int, int, int], affine: Affine) -> Array:
    x, y, z = positions(shape, affine)
    return np.asarray(2.0 * x - 3.0 * y + 5.0 * z + 1000)


@pytest.mark.parametrize("spacing", [(0.7, 0.65, 0.65), (1.25, 0.9, 0.8), (5.0, 1.3, 0.5), (2.5, 1.0, 1.0)])
def test_a_linear_ramp_in_millimetres_stays_where_it_is(spacing: tuple[float, float, float]) -> None:
    empty = volume_of(np.zeros((60, 80, 90)), spacing)
    source = volume_of(np.rint(ramp(empty.shape, empty.affine)), spacing)
    target = to_training_grid(source)
    assert target.spacing == (2.5, 1.0, 1.0)
    np.testing.assert_allclose(
        np.linalg.norm(target.affine[:3, :3], axis=0), [1.0, 1.0, 2.5], rtol=0, atol=1e-12
    )
    margins = [
        slice(2 * int(np.ceil(max(1, s / t))) + 1, -2 * int(np.ceil(max(1, s / t))) - 1)
        for s, t in zip(spacing, (2.5, 1, 1), strict=True)
    ]
    inner = tuple(slice(m.start + 2, m.stop - 2) for m in margins)
    np.testing.assert_allclose(target.array[inner], ramp(target.shape, target.affine)[inner], atol=1.01)


def test_the_extent_keeps_its_centre() -> None:
    source = volume_of(np.zeros((50, 64, 70)), (1.0, 0.7, 0.7))
    target = to_training_grid(source)
    middle_before = source.affine @ [69 / 2, 63 / 2, 49 / 2, 1]
    size = np.array(target.shape[::-1]) - 1
    np.testing.assert_allclose(target.affine @ [*(size / 2), 1], middle_before, atol=1e-9)
    assert target.shape == (20, 45, 49)


def test_upsampling_agrees_with_scipy_inside() -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 4000, (24, 30, 32)), 2)
    source = volume_of(smooth, (5.0, 2.0, 2.0))
    target = resample(source, (2.5, 1.0, 1.0))
    x, y, z = (
        np.linalg.inv(source.affine)[:3, :3] @ positions(target.shape, target.affine).reshape(3, -1)
        + np.linalg.inv(source.affine)[:3, 3:]
    )
    expected = ndimage.map_coordinates(
        source.array.astype(float), [z, y, x], order=3, mode="nearest"
    ).reshape(target.shape)
    inner = (slice(6, -6),) * 3
    assert np.abs(target.array - expected)[inner].max() < 0.02 * np.ptp(expected)


def test_downsampling_averages_what_is_finer_than_the_target() -> None:
    stripes = np.zeros((50, 8, 8))
    stripes[::2] = 1000
    target = resample(volume_of(stripes, (0.5, 1.0, 1.0)), (2.5, 1.0, 1.0))
    assert np.abs(target.array[2:-2].astype(int) - 500).max() < 60
    flat = resample(volume_of(np.full((50, 20, 20), -873), (0.5, 0.7, 0.7)), (2.5, 1.0, 1.0))
    assert (flat.array == -873).all()


def test_only_thin_slices_change_for_reading() -> None:
    thick = volume_of(np.zeros((10, 8, 8)), (2.0, 0.7, 0.7))
    assert to_reading_grid(thick) is thick
    source = np.random.default_rng(2).integers(-1000, 300, (40, 9, 8))
    read = to_reading_grid(volume_of(source, (1.0, 0.7, 0.6)))
    assert (read.spacing, read.shape) == ((2.5, 0.7, 0.6), (16, 9, 8))


def ball(shape: tuple[int, int, int], affine: Affine, radius: float) -> Array:
    places = positions(shape, affine)
    centre = places.reshape(3, -1).mean(axis=1)
    return np.asarray(np.linalg.norm(places - centre[:, None, None, None], axis=0) < radius, dtype=np.uint8)


def test_masks_keep_place_and_volume_there_and_back() -> None:
    native = volume_of(np.zeros((90, 70, 72)), (1.0, 0.7, 0.7))
    reading = to_reading_grid(native)
    mask = ball(native.shape, native.affine, 15.0)
    there = resample_mask(mask, native.grid, reading.grid)
    np.testing.assert_allclose(there.sum() * 2.5, mask.sum() * 1.0, rtol=0.02)
    back = resample_mask(there, reading.grid, native.grid)
    np.testing.assert_allclose(back.sum(), mask.sum(), rtol=0.02)
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.96
    direct = ball(reading.shape, reading.affine, 15.0)
    assert 2 * (there & direct).sum() / (there.sum() + direct.sum()) > 0.97


def test_a_mask_on_the_same_grid_is_bit_exact_even_through_single_precision() -> None:
    mask = np.random.default_rng(3).integers(0, 6, (20, 30, 31)).astype(np.uint8)
    grid = volume_of(mask, (2.0, 0.661468, 0.661468)).grid
    stored = Grid.of(grid.shape, grid.affine.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(resample_mask(mask, stored, grid), mask)
    wider = Grid(
        (22, 30, 31),
        grid.spacing,
        grid.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1.0]]),
    )
    np.testing.assert_array_equal(resample_mask(mask, stored, wider)[1:-1], mask)
    assert not resample_mask(mask, stored, wider)[[0, -1]].any()


def test_labels_stay_labels_and_meet_where_they_met() -> None:
    mask = np.zeros((20, 20, 20), dtype=np.uint8)
    mask[5:15, 5:15, 5:10], mask[5:15, 5:15, 10:15] = 1, 5
    source = volume_of(mask, (1.0, 1.0, 1.0)).grid
    fine = resample_mask(mask, source, source.with_spacing((0.5, 0.5, 0.5)))
    assert set(np.unique(fine)) == {0, 1, 5}
    assert (fine[20, 20, 11:19] == 1).all()
    assert (fine[20, 20, 21:29] == 5).all()


def test_flipped_and_oblique_grids_go_by_position() -> None:
    mask = np.zeros((12, 14, 16), dtype=np.uint8)
    mask[2:5, 3:9, 4:6] = 2
    source = volume_of(mask, (2.0, 1.0, 1.0)).grid
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[0, 3], flip[2, 3] = 15, 11
    flipped = Grid(source.shape, source.spacing, source.affine @ flip)
    np.testing.assert_array_equal(resample_mask(mask, source, flipped), mask[::-1, :, ::-1])
    swap = np.eye(4)[[1, 0, 2, 3]]
    swapped = Grid((12, 16, 14), (2.0, 1.0, 1.0), source.affine @ swap)
    np.testing.assert_array_equal(resample_mask(mask, source, swapped), mask.transpose(0, 2, 1))


def test_a_mask_elsewhere_in_space_is_empty() -> None:
    mask = np.ones((4, 5, 6), dtype=np.uint8)
    source = volume_of(mask, (2.0, 1.0, 1.0)).grid
    away = source.affine.copy()
    away[2, 3] += 500
    assert not resample_mask(mask, source, Grid(source.shape, source.spacing, away)).any()
    with pytest.raises(ValueError, match="shape"):
        resample_mask(mask[1:], source, source)
