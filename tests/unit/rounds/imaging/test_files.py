"""NIfTI and PNG bytes: reproducible, opened by other readers, exact where they must be."""

import gzip
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from tests.unit.rounds.imaging.factories import shared

from rounds.imaging.nifti import (
    NotALabelMask,
    NotNifti,
    decode_mask,
    decode_volume,
    encode_mask,
    encode_volume,
)
from rounds.imaging.render import overlay_png, slice_png
from rounds.imaging.volume import Volume

NIFTI: Any = nibabel.Nifti1Image
ORIENTATION: Any = nibabel.aff2axcodes
AFFINE = np.array([[-0.75, 0, 0, 172.125], [0, -0.625, 0, 328.5], [0, 0, 2.5, -346.1], [0, 0, 0, 1]])


def volume() -> Volume:
    array = np.arange(-1000, -1000 + 5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    return Volume(array, (2.5, 0.625, 0.75), AFFINE)


def test_a_volume_comes_back_and_always_has_the_same_bytes() -> None:
    data = encode_volume(volume())
    assert data == encode_volume(volume())
    assert data[4:8] == bytes(4), "a time of writing would give the same volume another hash tomorrow"
    back = decode_volume(data)
    np.testing.assert_array_equal(back.array, volume().array)
    assert back.spacing == (2.5, 0.625, 0.75)
    np.testing.assert_allclose(back.affine, AFFINE, atol=2e-5)


def test_another_reader_sees_the_axes_in_x_y_z() -> None:
    image = NIFTI.from_bytes(gzip.decompress(encode_volume(volume())))
    assert image.shape == (7, 6, 5)
    assert image.get_fdata()[6, 0, 4] == volume().array[4, 0, 6]
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-4)
    np.testing.assert_allclose(image.get_sform(), AFFINE, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert ORIENTATION(image.affine) == ("L", "P", "S")


def test_a_mask_comes_back_bit_exact() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (5, 6, 7)).astype(np.uint8)
    back, affine = decode_mask(encode_mask(mask, AFFINE))
    np.testing.assert_array_equal(back, mask)
    assert back.dtype == np.uint8
    np.testing.assert_allclose(affine, AFFINE, atol=2e-5)


def test_masks_of_other_types_are_taken_only_if_they_hold_labels() -> None:
    whole = NIFTI(np.full((3, 4, 5), 2.0, dtype=np.float32), np.eye(4))
    assert decode_mask(whole.to_bytes())[0].tolist() == np.full((5, 4, 3), 2).tolist()
    for value in (0.5, -1.0, 300.0, np.nan):
        image = NIFTI(np.full((3, 4, 5), value, dtype=np.float32), np.eye(4))
        with pytest.raises(NotALabelMask):
            decode_mask(image.to_bytes())
    with pytest.raises(NotALabelMask):
        encode_mask(np.zeros((2, 2, 2), dtype=np.int32), np.eye(4))


def test_what_is_not_nifti_is_refused() -> None:
    for data in (b"", b"\x1f\x8bjunk", b"x" * 400):
        with pytest.raises(NotNifti):
            decode_volume(data)


def test_a_ringing_real_mask_is_refused() -> None:
    path = shared("imlab-lung-3d/id001-128x128x64-msk.nii.gz")
    with pytest.raises(NotALabelMask):
        decode_mask(path.read_bytes())


def test_a_slice_is_drawn_with_its_window() -> None:
    slice2d = np.array([[-2000, -1024, -336, 350, 3000]], dtype=np.int16)
    data = slice_png(slice2d, (-1024, 350))
    assert data.startswith(b"\x89PNG")
    drawn: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn.tolist() == [[0, 0, 128, 255, 255]]
    with pytest.raises(ValueError, match="window"):
        slice_png(slice2d, (100, 100))


def test_a_slice_of_a_larger_array_is_drawn() -> None:
    array = np.random.default_rng(0).integers(-1024, 350, (4, 9, 9)).astype(np.int16)
    for view in (array[2], array[:, 3], array[:, :, 4], array[2, ::2, ::-1]):
        assert slice_png(view, (-1024, 350)) == slice_png(view.copy(), (-1024, 350))


def test_an_overlay_is_transparent_where_nothing_is() -> None:
    mask = np.array([[0, 1], [2, 9]], dtype=np.uint8)
    data = overlay_png(mask, {1: "#ff8000", 2: "#0000ff"}, alpha=100)
    blue_green_red: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert blue_green_red.tolist() == [[[0, 0, 0, 0], [0, 128, 255, 100]], [[255, 0, 0, 100], [0, 0, 0, 0]]]
