"""Masks on screen: extent, sides of the patient, and decoding each mask once."""

import cv2
import numpy as np
import pytest

from rounds.imaging.nifti import encode_mask
from rounds.web.pixels import MaskCache, UnknownSlice, edges, overlay, voxels


def test_extent_counts_each_slice() -> None:
    mask = np.zeros((3, 4, 5), dtype=np.uint8)
    mask[1, :2] = 3
    assert voxels(mask) == [0, 10, 0]


@pytest.mark.parametrize(
    ("diagonal", "expected"),
    [
        ((-1, -1, 1), {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        ((1, -1, 1), {"left": "L", "right": "R", "top": "A", "bottom": "P"}),
        ((-1, 1, 1), {"left": "R", "right": "L", "top": "P", "bottom": "A"}),
    ],
)
def test_edges_follow_the_affine(diagonal: tuple[int, int, int], expected: dict[str, str]) -> None:
    assert edges(np.diag([*diagonal, 1.0]).astype(np.float64)) == expected


def test_edges_of_a_sagittal_grid() -> None:
    affine = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    assert edges(affine) == {"left": "P", "right": "A", "top": "S", "bottom": "I"}


def test_overlay_has_the_schemes_colours_and_refuses_unknown_slices() -> None:
    mask = np.zeros((2, 3, 3), dtype=np.uint8)
    mask[1, 0, 2] = 7
    drawn = cv2.imdecode(np.frombuffer(overlay(mask, 1, {7: "#102030"}), np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn is not None
    assert drawn[0, 2].tolist() == [0x30, 0x20, 0x10, 255]  # OpenCV has BGRA
    assert drawn[..., 3].sum() == 255
    for index in (-1, 2):
        with pytest.raises(UnknownSlice):
            overlay(mask, index, {})


def test_a_mask_is_fetched_once_while_it_is_kept() -> None:
    fetched: list[str] = []

    def fetch(ref: str) -> bytes:
        fetched.append(ref)
        return encode_mask(np.full((1, 2, 2), int(ref), dtype=np.uint8), np.eye(4))

    cache = MaskCache(fetch, size=2)
    for ref in ("1", "1", "2", "1", "3", "1", "2"):
        assert cache.get(ref).max() == int(ref)
    assert fetched == ["1", "2", "3", "2"]
