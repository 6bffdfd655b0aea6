"""How training examples are cut and changed: patches of lesion and background in balance, flip, pan, zoom."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rounds_models.cache import CachedCase
from rounds_models.data import Image, Mask
from rounds_models.recipes import Recipe
from rounds_models.zoo.registry import Size

Voxel = TypeVar("Voxel", bound=np.generic)


def to_unit(image: NDArray[np.int16] | Tensor, window: tuple[int, int]) -> Tensor:
    """Map HU to [0, 1] over `window`, clipped (Wang 2020: [-1024, 350])."""
    low, high = window
    values = image if isinstance(image, Tensor) else torch.from_numpy(np.asarray(image))
    return ((values.to(torch.float32) - low) / (high - low)).clamp_(0.0, 1.0)


class PatchSampler:
    """Draws patches (z, y, x) from cached cases; the same generator state gives the same patches."""

    def __init__(self, cases: Sequence[CachedCase], recipe: Recipe, rng: np.random.Generator) -> None:
        self.cases = cases
        self.with_lesions = [case for case in cases if len(case.centres)]
        self.recipe = recipe
        self.rng = rng

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return values in [0, 1] and lesions 0 or 1, both (n, 1, z, y, x)."""
        images, masks = zip(*(self._patch() for _ in range(self.recipe.batch)), strict=True)
        image = to_unit(np.stack(images), self.recipe.window)[:, None]
        mask = torch.from_numpy(np.stack(masks) > 0)[:, None].to(torch.float32)
        return image, mask

    def _patch(self) -> tuple[Image, Mask]:
        size = np.asarray(self.recipe.patch)
        on_lesion = bool(self.with_lesions) and self.rng.random() < self.recipe.lesion_share
        pool = self.with_lesions if on_lesion else self.cases
        cached = pool[int(self.rng.integers(len(pool)))]
        room = np.maximum(np.asarray(cached.image.shape) - size, 0)
        if on_lesion:
            centre = cached.centres[self.rng.integers(len(cached.centres))]
            shift = self.rng.integers(-(size // 4), size // 4 + 1)
            start = np.clip(centre - size // 2 + shift, 0, room)
        else:
            start = self.rng.integers(0, room + 1)
        region = tuple(slice(int(a), int(a + b)) for a, b in zip(start, size, strict=True))
        image = np.asarray(cached.image[region], dtype=np.int16)
        mask = np.zeros_like(image, np.uint8) if cached.mask is None else np.asarray(cached.mask[region])
        return fill(image, self.recipe.patch, self.recipe.window[0]), fill(mask, self.recipe.patch, 0)


def fill(array: NDArray[Voxel], size: Size, value: int) -> NDArray[Voxel]:
    """Pad the far ends of (z, y, x) with `value` up to `size`."""
    missing = [(0, max(0, s - a)) for s, a in zip(size, array.shape, strict=True)]
    return np.pad(array, missing, constant_values=value) if any(m for _, m in missing) else array


def augment(channels: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Flip, pan and zoom each example (n, c, z, y, x) at random, all channels alike, linearly."""
    n = channels.shape[0]
    zoom = rng.uniform(*recipe.zoom, size=n)
    pan = rng.uniform(-2 * recipe.pan, 2 * recipe.pan, size=(n, 3))
    flips = rng.random((n, 3)) < 0.5
    theta = np.zeros((n, 3, 4), dtype=np.float32)
    for axis in range(3):
        sign = np.where(flips[:, axis], -1.0, 1.0) if axis in recipe.flip_axes else np.ones(n)
        theta[:, 2 - axis, 2 - axis] = sign / zoom
        theta[:, 2 - axis, 3] = pan[:, axis]
    where = torch.from_numpy(theta).to(channels.device)
    grid = functional.affine_grid(where, list(channels.shape), align_corners=False)
    return functional.grid_sample(channels, grid, padding_mode="border", align_corners=False)
