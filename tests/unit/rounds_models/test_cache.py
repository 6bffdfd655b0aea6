"""The cache gives the voxels of the files, follows their content, and heals itself."""

from pathlib import Path

import numpy as np
import pytest
from tests.unit.rounds_models.factories import TOY, chest, data_set, write_nifti

from rounds_models.cache import Cache
from rounds_models.data import DataError, read_data_set
from rounds_models.lungs import OUTSIDE_HU, only_lungs


def test_the_crop_holds_the_lungs_of_the_scan(tmp_path: Path) -> None:
    data_set(tmp_path, {"train": 1})
    drawn = chest("covid", 0)
    cached = Cache(tmp_path / "cache").open(read_data_set(tmp_path).cases[0])
    assert cached.shape == TOY
    lungs, box = only_lungs(drawn.image)
    assert cached.box == box
    assert np.array_equal(cached.image[:], lungs)
    assert cached.mask is not None
    assert np.array_equal(cached.mask[:], drawn.mask[cached.box])
    assert cached.lesion_voxels == int(drawn.mask.sum()) > 0
    assert all(cached.mask[:][tuple(centre)] == 1 for centre in cached.centres)
    assert 0 < len(cached.centres) <= 4096


def test_a_second_reading_uses_the_cache_and_a_changed_mask_does_not(tmp_path: Path) -> None:
    data_set(tmp_path, {"train": 1})
    case, cache = read_data_set(tmp_path).cases[0], Cache(tmp_path / "cache")
    cache.open(case)
    written = {path.name: path.stat().st_mtime_ns for path in cache.folder.iterdir()}
    cache.open(case)
    assert {path.name: path.stat().st_mtime_ns for path in cache.folder.iterdir()} == written
    assert case.mask is not None
    write_nifti(case.mask, np.zeros(TOY, np.uint8))
    assert cache.open(case).lesion_voxels == 0


def test_a_broken_or_missing_file_is_made_again(tmp_path: Path) -> None:
    data_set(tmp_path, {"train": 1})
    case, cache = read_data_set(tmp_path).cases[0], Cache(tmp_path / "cache")
    before = np.asarray(cache.open(case).image[:])
    for number, path in enumerate(sorted(cache.folder.iterdir())):
        if number == 0:
            path.write_bytes(b"broken")
        else:
            path.unlink()
    assert np.array_equal(cache.open(case).image[:], before)


def test_a_bad_mask_is_refused_with_its_case(tmp_path: Path) -> None:
    data_set(tmp_path, {"train": 1})
    case = read_data_set(tmp_path).cases[0]
    assert case.mask is not None
    write_nifti(case.mask, np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match="case train-0: the mask has shape"):
        Cache(tmp_path / "cache").open(case)


def test_only_the_chest_cavity_goes_on() -> None:
    drawn = chest("covid", 5, (24, 120, 160))
    lungs, box = only_lungs(drawn.image)
    scan, lesions = drawn.image[box], drawn.mask[box] > 0
    kept = lungs != OUTSIDE_HU
    assert int(lesions.sum()) == int(drawn.mask.sum()) > 0
    assert np.array_equal(lungs[kept], scan[kept])
    assert kept[lesions].mean() > 0.999
    assert 0.3 < kept.mean() < 0.8
    assert (scan[~kept] > -100).sum() > 0.5 * (~kept).sum()  # mostly the chest wall


def test_a_lung_that_disease_has_filled_is_kept() -> None:
    drawn = chest("healthy", 5, (24, 120, 160))
    filled = drawn.image.copy()
    right = (np.arange(160) < 80) & (drawn.image < -500)
    filled[8:16][right[8:16]] = 30
    lungs, box = only_lungs(filled)
    kept = np.zeros(filled.shape, bool)
    kept[box] = lungs != OUTSIDE_HU
    inside_body = right.copy()
    inside_body[:, :20], inside_body[:, -20:], inside_body[:, :, :20] = False, False, False
    assert kept[8:16][inside_body[8:16]].mean() > 0.95


@pytest.mark.parametrize("value", [-1000, 40])
def test_a_scan_without_lungs_is_kept_whole(value: int) -> None:
    scan = np.full((4, 20, 20), value, np.int16)
    lungs, box = only_lungs(scan)
    assert box == (slice(0, 4), slice(0, 20), slice(0, 20))
    assert np.array_equal(lungs, scan)
