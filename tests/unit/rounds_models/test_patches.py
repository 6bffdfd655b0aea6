"""Patches are in balance, stay true to their scan, and change image and mask alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.rounds_models.factories import data_set

from rounds_models import recipes
from rounds_models.cache import Cache, CachedCase
from rounds_models.data import read_data_set
from rounds_models.patches import PatchSampler, augment, to_unit


@pytest.fixture
def small() -> recipes.Recipe:
    return replace(recipes.load("lesion_tiny"), patch=(8, 24, 24), batch=4)


@pytest.fixture
def cases(tmp_path: Path) -> tuple[CachedCase, ...]:
    return Cache(tmp_path / "cache").open_all(read_data_set(data_set(tmp_path, {"train": 4})).cases)


def share(cases: tuple[CachedCase, ...], recipe: recipes.Recipe) -> float:
    """Return the share of patches that hold a lesion."""
    sampler = PatchSampler(cases, recipe, np.random.default_rng(0))
    found = torch.cat([sampler.batch()[1] for _ in range(20)])
    return float((found.amax(dim=(1, 2, 3, 4)) > 0).float().mean())


def test_the_lesion_share_is_kept(cases: tuple[CachedCase, ...], small: recipes.Recipe) -> None:
    assert share(cases, replace(small, lesion_share=1.0)) > 0.95
    assert share(cases, replace(small, lesion_share=0.0)) < 0.8


def test_the_same_generator_gives_the_same_patches(
    cases: tuple[CachedCase, ...], small: recipes.Recipe
) -> None:
    drawn = [PatchSampler(cases, small, np.random.default_rng(seed)).batch()[0] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_patch_larger_than_the_scan_is_filled_with_air(
    cases: tuple[CachedCase, ...], small: recipes.Recipe
) -> None:
    size = (48, 24, 24)
    image, mask = PatchSampler(cases, replace(small, patch=size), np.random.default_rng(0)).batch()
    assert image.shape == mask.shape == (4, 1, *size)
    assert float(image[:, :, -8:].max()) == 0.0
    assert float(mask[:, :, -8:].max()) == 0.0


def test_window_maps_to_the_unit_range() -> None:
    values = to_unit(np.array([-2000, -1024, -337, 350, 3000], np.int16), (-1024, 350))
    assert values.tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_without_pan_zoom_and_flip_nothing_changes(small: recipes.Recipe) -> None:
    still = replace(small, pan=0.0, zoom=(1.0, 1.0), flip_axes=())
    volume = torch.rand(2, 2, 6, 8, 10)
    assert torch.allclose(augment(volume, still, np.random.default_rng(0)), volume, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_turns_its_own_axis_only(axis: int, small: recipes.Recipe) -> None:
    flipping = replace(small, pan=0.0, zoom=(1.0, 1.0), flip_axes=(axis,))
    volume = torch.rand(16, 2, 6, 8, 10)
    changed = augment(volume, flipping, np.random.default_rng(0))
    mirrored = volume.flip(axis + 2)
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(changed, volume, strict=True)]
    turned = [torch.allclose(a, b, atol=1e-4) for a, b in zip(changed, mirrored, strict=True)]
    assert all(s != t for s, t in zip(same, turned, strict=True))
    assert 3 <= sum(turned) <= 13


def test_image_and_mask_move_together(small: recipes.Recipe) -> None:
    mask = torch.zeros(8, 1, 16, 24, 24)
    mask[..., 5:10, 6:14, 9:16] = 1
    moved = augment(torch.cat([mask * 0.7, mask], dim=1), replace(small, pan=0.2), np.random.default_rng(0))
    assert torch.allclose(moved[:, 0], moved[:, 1] * 0.7, atol=1e-5)
    assert not torch.allclose(moved[:, 1], mask[:, 0])


def test_zoom_makes_things_larger(small: recipes.Recipe) -> None:
    mask = torch.zeros(1, 1, 16, 24, 24)
    mask[..., 6:10, 8:16, 8:16] = 1
    zoomed = augment(mask, replace(small, pan=0.0, zoom=(1.5, 1.5)), np.random.default_rng(0))
    assert float(zoomed.sum()) == pytest.approx(float(mask.sum()) * 1.5**3, rel=0.1)
