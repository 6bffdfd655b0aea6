"""From files to HU: slope and intercept per slice, padding, every transfer syntax, and damaged pixels refused."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.unit.rounds.imaging.factories import shared, slice_of, write, write_series

from rounds.imaging.chest import lung_mask, median_lung_hu
from rounds.imaging.gate import Stack, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import find_series, read_slice_header
from rounds.imaging.volume import Volume, VolumeRefused, load_slice, load_volume, to_hu

REVERSIBLE = ("CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE")


def stack_of(folder: Path) -> Stack:
    (series,) = find_series(folder).series
    (stack,) = examine(series).stacks
    return stack


def test_each_slice_has_its_own_slope_and_intercept_and_lies_in_order(tmp_path: Path) -> None:
    def change(data: Dataset, index: int) -> None:
        data.RescaleSlope = str(1 + index)
        data.RescaleIntercept = str(-1000 + index)

    volume = load_volume(stack_of(write_series(tmp_path, change=change)))
    assert volume.array.dtype == np.int16
    assert [int(one[0, 0]) for one in volume.array] == [i * (1 + i) - 1000 + i for i in range(16)]
    assert volume.spacing == (2.0, 0.8, 0.7)


def test_fractions_are_rounded_and_values_clamped() -> None:
    stored = np.array([[0, 1, 3, -3000, 30000]], dtype=np.int16)
    assert to_hu(stored, 0.5, 0.0).tolist() == [[0, 0, 2, -1024, 15000]]
    assert to_hu(stored, 2.0, 0.0).tolist() == [[0, 2, 6, -1024, 32767]]
    assert to_hu(np.array([[65535]], dtype=np.uint16), 1.0, -1024.0).tolist() == [[32767]]


@pytest.mark.parametrize("signed", [True, False])
def test_bits_above_the_stored_ones_change_no_hu(tmp_path: Path, signed: bool) -> None:
    values = np.arange(32 * 48, dtype=np.int32).reshape(32, 48) - (1000 if signed else 0)
    litter = np.random.default_rng(1).integers(0, 16, values.shape) << 12
    data = slice_of(0, (values & 0x0FFF | litter).astype(np.uint16).view(np.int16))
    data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, int(signed)
    hu = load_slice(read_slice_header(write(tmp_path / "one", data)))
    np.testing.assert_array_equal(hu, np.maximum(values - 1024, -1024))


def test_padding_becomes_air_unless_it_would_be_tissue(tmp_path: Path) -> None:
    pixels = np.full((32, 48), 1050, dtype=np.int16)
    pixels[0] = 30000
    pixels[1] = -2000
    for value, row_of_padding in ((30000, 0), (-2000, 1), (63536, 1)):
        data = slice_of(0, pixels)
        data.add_new(0x00280120, "US" if value > 40000 else "SS", value)
        hu = load_slice(read_slice_header(write(tmp_path / "one", data)))
        assert (hu[row_of_padding] == -1024).all()
        assert (hu[2:] == 26).all()
    data = slice_of(0, pixels)
    data.add_new(0x00280120, "SS", 1050)
    assert (load_slice(read_slice_header(write(tmp_path / "one", data)))[2:] == 26).all()


def test_damaged_pixels_are_refused_with_the_file(tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path))
    broken = stack.slices[5].path
    broken.write_bytes(broken.read_bytes()[:-2000])
    with pytest.raises(VolumeRefused) as caught:
        load_volume(stack)
    assert caught.value.refusal.code is Reason.UNDECODABLE
    assert caught.value.refusal.files == (broken,)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    stack = stack_of(write_series(tmp_path))
    stack.slices[0].path.unlink()
    with pytest.raises(VolumeRefused):
        load_volume(stack)


def test_every_transfer_syntax_gives_the_same_hu(tmp_path: Path) -> None:
    folder = shared("wg04")
    slices = {
        name: load_slice(read_slice_header(folder / name)) for name in (*REVERSIBLE, "CT1_JLSN", "CT1_J2KI")
    }
    reference = slices["CT1_JPLL"]
    assert (reference.min(), reference.max()) == (-1024, 1254)
    for name in REVERSIBLE:
        np.testing.assert_array_equal(slices[name], reference)
    inside = reference > -1000
    assert np.abs(slices["CT1_JLSN"].astype(int) - reference)[inside].max() <= 10
    assert np.abs(slices["CT1_J2KI"].astype(int) - reference)[inside].mean() < 40
    if shutil.which("zstd") is None:
        pytest.skip("the uncompressed slice needs zstd to unpack; the compressed ones agree")
    plain = tmp_path / "plain"
    with plain.open("wb") as target:
        subprocess.run(["zstd", "-dc", str(folder / "CT1_UNC.zst")], stdout=target, check=True)
    np.testing.assert_array_equal(load_slice(read_slice_header(plain)), reference)


def test_the_lungs_of_the_real_chests_are_minus_860() -> None:
    for series in find_series(shared("covid-ct-md")).series:
        (stack,) = examine(series).stacks
        median = median_lung_hu(load_volume(stack))
        assert median == pytest.approx(-860, abs=15)


def test_lungs_are_the_air_inside_a_body() -> None:
    array = np.full((40, 120, 120), -1000, dtype=np.int16)
    array[:, 10:110, 10:110] = 40
    array[5:35, 30:90, 20:50] = -850
    array[5:35, 30:90, 70:100] = -840
    volume = Volume(array, (3.0, 3.0, 3.0), np.diag([3.0, 3.0, 3.0, 1.0]))
    np.testing.assert_array_equal(lung_mask(volume), (array == -850) | (array == -840))
    assert median_lung_hu(volume) == -845
    assert median_lung_hu(replace(volume, array=np.full_like(array, 40))) is None
