"""What a chest is by its voxels: real chests and the demo's phantoms pass, an abdomen does not."""

import numpy as np
import pytest
from scipy import ndimage
from tests.unit.rounds.imaging.factories import shared

from rounds.demo.phantoms import Diagnosis, make_phantom
from rounds.imaging.chest import _inner_air, _joined, chest_fault, find_lungs, range_fault
from rounds.imaging.gate import examine
from rounds.imaging.nifti import decode_volume
from rounds.imaging.refusal import Reason
from rounds.imaging.resample import to_reading_grid
from rounds.imaging.series import find_series
from rounds.imaging.volume import Volume, load_volume


def faults(volume: Volume) -> set[Reason]:
    found = (range_fault(volume.grid), chest_fault(find_lungs(volume)))
    return {fault[0] for fault in found if fault is not None}


def body(lung_slices: int, hu: int = -850, slices: int = 60, half: int = 25) -> Volume:
    """Make a body of 100 mm x 300 mm x 300 mm upwards in steps of 3 mm, lungs in its upper slices."""
    array = np.full((slices, 100, 100), -1000, dtype=np.int16)
    array[:, 5:95, 5:95] = 40
    if lung_slices:
        array[-lung_slices:, 30:70, 10 : 10 + half] = hu
        array[-lung_slices:, 30:70, 90 - half : 90] = hu
    return Volume(array, (3.0, 3.0, 3.0), np.diag([3.0, 3.0, 3.0, 1.0]))


@pytest.mark.parametrize("folder", ["covid-ct-md", "cip-chest/ct-64Dicom"])
def test_real_chests_are_chests(folder: str) -> None:
    for series in find_series(shared(folder)).series:
        (stack,) = examine(series).stacks
        assert faults(to_reading_grid(load_volume(stack))) == set()


def test_a_real_chest_from_another_source_is_one_too() -> None:
    path = shared("imlab-lung-3d/id001-128x128x64.nii.gz")
    assert faults(decode_volume(path.read_bytes())) == set()


def test_the_real_abdomen_is_none() -> None:
    abdomen = decode_volume(shared("totalseg-ct/example_ct_sm.nii.gz").read_bytes())
    fault = chest_fault(find_lungs(abdomen))
    assert fault is not None
    assert fault[0] is Reason.NOT_A_CHEST
    assert "130 ml of lungs" in fault[1]


@pytest.mark.parametrize("diagnosis", ["covid", "other", "healthy"])
def test_the_demos_phantoms_are_chests(diagnosis: Diagnosis) -> None:
    phantom = make_phantom(3, diagnosis, shape=(45, 128, 128))
    assert faults(Volume(phantom.hu, phantom.spacing, np.eye(4))) == set()


def test_what_is_no_chest_is_told_with_numbers() -> None:
    assert faults(body(50)) == set()
    assert chest_fault(find_lungs(body(0))) == (Reason.NOT_A_CHEST, "no lungs")
    assert chest_fault(find_lungs(body(40, hu=-1000))) == (Reason.NOT_A_CHEST, "gas, but no lung tissue")
    bases = chest_fault(find_lungs(body(25)))
    assert bases == (
        Reason.NOT_A_CHEST,
        "1350 ml of lungs over 75 mm, 400 ml over 85 mm needed",
    )
    small = chest_fault(find_lungs(body(40, half=4)))
    assert small is not None
    assert small[1].startswith("346 ml")


def test_one_lung_is_enough() -> None:
    volume = body(50)
    volume.array[:, :, 50:95] = np.maximum(volume.array[:, :, 50:95], 40)
    assert faults(volume) == set()


def test_a_short_range_is_told_in_millimetres() -> None:
    volume = body(29, slices=29)
    assert range_fault(volume.grid) == (Reason.SHORT_RANGE, "87 mm, at least 90 mm needed")
    assert range_fault(body(30, slices=30).grid) is None


@pytest.mark.parametrize("seed", range(8))
def test_parts_are_joined_from_slice_to_slice_as_a_labelling_in_three_dimensions_joins_them(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    array = np.where(random.random((12, 40, 40)) < 0.45, -800, 40).astype(np.int16)
    pieces, sizes = _inner_air(array)
    np.testing.assert_array_equal(np.bincount(pieces.ravel(), minlength=len(sizes))[1:], sizes[1:])
    joined = _joined(pieces, len(sizes))[pieces]
    expected, count = ndimage.label(pieces > 0)
    assert len(set(zip(expected.ravel(), joined.ravel(), strict=True))) == count + 1 == len(np.unique(joined))
