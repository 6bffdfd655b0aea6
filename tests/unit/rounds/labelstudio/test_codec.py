"""Masks and Label Studio regions: bit-exact both ways, and a clear error for what is no mask."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rounds.labelstudio.bitmask import PREFIX, decode_bitmask, encode_bitmask
from rounds.labelstudio.codec import (
    Mask,
    RegionOrigins,
    Result,
    count_origins,
    mask_to_results,
    prediction_to_annotation,
    results_to_mask,
)
from rounds.labelstudio.errors import SyncError
from rounds.labelstudio.schemes import Scheme, load_scheme

CONFIGS = Path(__file__).parents[4] / "annotation_configs"
SHAPE = (5, 37, 50)


@pytest.fixture(scope="module")
def lesion() -> Scheme:
    return load_scheme(CONFIGS, "lesion")


@pytest.fixture(scope="module")
def lobes() -> Scheme:
    return load_scheme(CONFIGS, "lobes")


def random_mask(seed: int, values: int) -> Mask:
    mask = np.random.default_rng(seed).integers(0, values + 1, SHAPE).astype(np.uint8)
    mask[2] = 0
    return mask


def canvas_url(alpha: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Write a mask as the editor's canvas does: black RGBA, the mask in alpha."""
    pixels = np.zeros((*alpha.shape, 4), np.uint8)
    pixels[..., 3] = alpha
    ok, png = cv2.imencode(".png", pixels)
    assert ok
    return PREFIX + base64.b64encode(png.tobytes()).decode()


@pytest.mark.parametrize("width", [1, 7, 8, 9, 50, 512])
def test_a_bitmask_survives_at_every_width(width: int) -> None:
    plane = np.random.default_rng(width).random((13, width)) > 0.5
    assert np.array_equal(decode_bitmask(encode_bitmask(plane), (13, width)), plane)


def test_one_label_comes_back_bit_exact(lesion: Scheme) -> None:
    mask = random_mask(1, 1)
    results = mask_to_results(mask, lesion)
    assert [result["item_index"] for result in results] == [0, 1, 3, 4]
    assert np.array_equal(results_to_mask(results, SHAPE, lesion), mask)


def test_five_labels_come_back_bit_exact(lobes: Scheme) -> None:
    mask = random_mask(2, 5)
    results = mask_to_results(mask, lobes)
    assert len(results) == 20
    assert np.array_equal(results_to_mask(results, SHAPE, lobes), mask)


def test_no_region_is_an_empty_mask(lesion: Scheme) -> None:
    assert mask_to_results(np.zeros(SHAPE, np.uint8), lesion) == []
    assert not results_to_mask([], SHAPE, lesion).any()


def test_a_512_slice_is_small() -> None:
    rows, columns = np.ogrid[:512, :512]
    disc = (rows - 200) ** 2 + (columns - 300) ** 2 < 60**2
    assert len(encode_bitmask(disc)) < 1500


def test_antialiased_strokes_are_cut_at_half() -> None:
    alpha = np.array([[0, 1, 127, 128, 200, 255]], np.uint8)
    plane = decode_bitmask(canvas_url(alpha), (1, 6))
    assert plane.tolist() == [[False, False, False, True, True, True]]


def test_an_erased_region_is_empty(lesion: Scheme) -> None:
    results = mask_to_results(np.ones((1, 4, 4), np.uint8), lesion)
    results[0]["value"]["imageDataURL"] = canvas_url(np.zeros((4, 4), np.uint8))
    assert not results_to_mask(results, (1, 4, 4), lesion).any()


def test_two_regions_of_a_label_unite_and_a_later_label_wins(lobes: Scheme) -> None:
    first, second = np.zeros((2, 1, 4, 4), np.uint8)
    first[0, :2], second[0, 1:3] = 1, 2
    mask = results_to_mask(mask_to_results(first, lobes) + mask_to_results(second, lobes), (1, 4, 4), lobes)
    assert mask[0, :, 0].tolist() == [1, 2, 2, 0]


def test_a_region_without_item_index_is_of_the_first_slice(lesion: Scheme) -> None:
    results = mask_to_results(np.ones((1, 4, 4), np.uint8), lesion)
    del results[0]["item_index"]
    assert results_to_mask(results, (3, 4, 4), lesion)[0].all()


def test_a_value_without_a_label_is_refused(lesion: Scheme) -> None:
    with pytest.raises(ValueError, match=r"\[7\]"):
        mask_to_results(np.full((1, 2, 2), 7, np.uint8), lesion)


def put(*keys: str, value: Any) -> Callable[[Result], None]:
    def change(result: Result) -> None:
        for key in keys[:-1]:
            result = result[key]
        result[keys[-1]] = value

    return change


GREY = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
RIGHT = base64.b64decode(encode_bitmask(np.ones((4, 4), bool))[len(PREFIX) :])
URL = ("value", "imageDataURL")


def as_url(png: bytes) -> str:
    return PREFIX + base64.b64encode(png).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("item_index", value=3), "outside the task's 3 slices"),
        (put("item_index", value=-1), "outside the task's 3 slices"),
        (put("item_index", value="1"), "outside the task's 3 slices"),
        (put("type", value="brushlabels"), "not a bitmask"),
        (put("from_name", value="other"), "not a bitmask of this scheme"),
        (put("image_rotation", value=90), "turned"),
        (put("value", "bitmasklabels", value=["tumour"]), "does not name"),
        (put("value", "bitmasklabels", value=[]), "exactly one label"),
        (put("value", value=None), "exactly one label"),
        (put(*URL, value=None), "exactly one label"),
        (put(*URL, value="https://example.org/mask.png"), "not a PNG data URL"),
        (put(*URL, value=PREFIX + "@@@"), "not base64"),
        (put(*URL, value=as_url(b"GIF89a")), "not a PNG"),
        (put(*URL, value=as_url(RIGHT[:40])), "damaged"),
        (put(*URL, value=as_url(RIGHT[:-12])), "damaged"),
        (put(*URL, value=as_url(RIGHT.replace(b"IDAT", b"IDAT" + bytes([0]), 1))), "damaged"),
        (put(*URL, value=as_url(GREY)), "no alpha channel"),
        (put(*URL, value=encode_bitmask(np.ones((4, 5), bool))), "4 x 5 pixels, its slice 4 x 4"),
    ],
)
def test_what_is_no_mask_is_set_aside(lesion: Scheme, change: Callable[[Result], None], message: str) -> None:
    results = mask_to_results(np.ones((3, 4, 4), np.uint8), lesion)
    change(results[1])
    with pytest.raises(SyncError, match="region 2: .*" + message):
        results_to_mask(results, (3, 4, 4), lesion)


def test_origins_are_counted(lesion: Scheme) -> None:
    results = prediction_to_annotation(mask_to_results(np.ones((4, 4, 4), np.uint8), lesion))
    results[1]["origin"] = "prediction-changed"
    results[2]["origin"] = "manual"
    del results[3]["origin"]
    assert count_origins(results) == RegionOrigins(manual=2, prediction=1, prediction_changed=1)
