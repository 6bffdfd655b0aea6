"""Synthetic chest CT: `make_phantom` draws one scan with its truth, the same for the same seed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rounds.demo.anatomy import Build, Chest, draw_build, lobe_of, paint_chest
from rounds.demo.fields import Floats, Grid, Mask, Shape, Triple, make_grid, paint, ramp, smooth_noise
from rounds.demo.lesions import Lung, Patch, draw_covid, draw_other, paint_mimics, paint_patches
from rounds.demo.vessels import Tree, bronchi_of, grow_tree, pick_targets, splat

Diagnosis = Literal["covid", "other", "healthy"]
PARENCHYMA = -868.0  # HU
SPECK = 0.15  # ml


@dataclass(frozen=True)
class Style:
    """How a scanner renders: noise in HU, kernel (-1 soft to 1 sharp), calibration offset in HU."""

    noise: float = 22.0
    kernel: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True)
class Phantom:
    """One synthetic scan: arrays (z, y, x) with z upwards, rows to the back, columns to the patient's left."""

    hu: NDArray[np.int16]
    lesion: Mask
    lung: Mask
    spacing: Triple
    diagnosis: Diagnosis
    finding: str

    @property
    def lesion_ml(self) -> float:
        """Volume of all lesions in ml."""
        return float(self.lesion.sum() * np.prod(self.spacing) / 1000)


def make_phantom(
    seed: int,
    diagnosis: Diagnosis,
    spacing: Triple = (2.5, 2.6, 2.6),
    shape: Shape = (56, 128, 128),
    style: Style = Style(),
) -> Phantom:
    """Draw a chest of `shape` voxels at `spacing` mm, both (z, y, x); the lungs span the whole scan height."""
    rng = np.random.default_rng([seed, 20200207])
    grid = make_grid(shape, spacing)
    sketch = _sketch(_thick(grid), diagnosis, style, rng)
    if sketch.hu.shape != shape:
        sketch = sketch.sliced(shape[0])
    hu = _noise(sketch, grid, style, rng)
    lung = sketch.lung > 0.5
    return Phantom(
        np.clip(np.round(hu), -1024, 3071).astype(np.int16),
        _without_specks((sketch.lesion > 0.5) & lung, spacing).astype(np.uint8),
        lung.astype(np.uint8),
        spacing,
        diagnosis,
        sketch.finding,
    )


@dataclass(frozen=True)
class Sketch:
    """A scan without noise, (z, y, x): HU, shares of lesion and lung, depth below the skin in mm."""

    hu: Floats
    lesion: Floats
    lung: Floats
    body: Floats
    finding: str

    def sliced(self, count: int) -> "Sketch":
        """Interpolate linearly to `count` slices over the same height."""
        have = self.hu.shape[0]
        at = np.clip((np.arange(count) + 0.5) * have / count - 0.5, 0, have - 1)
        weights = np.clip(1 - np.abs(at[:, None] - np.arange(have)), 0, 1).astype(np.float32)
        hu, lesion, lung, body = (
            np.tensordot(weights, part, axes=(1, 0)) for part in (self.hu, self.lesion, self.lung, self.body)
        )
        return Sketch(hu, lesion, lung, body, self.finding)


def _thick(grid: Grid) -> Grid:
    """Return a grid of the same height with slices of about 2.5 mm where they are thinner than 2 mm."""
    if grid.spacing[0] >= 2:
        return grid
    count = max(8, round(grid.height / 2.5))
    return make_grid((count, *grid.shape[1:]), (grid.height / count, *grid.spacing[1:]))


def _sketch(grid: Grid, diagnosis: Diagnosis, style: Style, rng: np.random.Generator) -> Sketch:
    build = draw_build(rng)
    chest = paint_chest(grid, build, rng)
    lung = _lung(grid, build, chest, rng)
    tissue = _parenchyma(lung, rng)
    lesion = np.zeros(grid.shape, dtype=np.bool_)
    finding, patches = _disease(rng, lung, diagnosis)
    paint_mimics(tissue, rng, lung)
    paint_patches(tissue, lesion, lung, patches)
    _draw_trees(tissue, lung, rng)
    paint(chest.hu, chest.lung, tissue)
    hu = _render(chest.hu, grid, style, rng)
    return Sketch(hu, lesion.astype(np.float32), chest.lung, chest.body, finding)


def _disease(rng: np.random.Generator, lung: Lung, diagnosis: Diagnosis) -> tuple[str, list[Patch]]:
    if diagnosis == "covid":
        return "covid", draw_covid(rng, lung)
    if diagnosis == "other":
        return draw_other(rng, lung)
    return "none", []


def _without_specks(lesion: NDArray[np.bool_], spacing: Triple) -> NDArray[np.bool_]:
    """Drop pieces that no reader would outline: under `SPECK` ml."""
    pieces, count = ndimage.label(lesion)
    volume = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(spacing)) / 1000
    keep = volume >= SPECK
    keep[0] = False
    return np.asarray(keep[pieces], dtype=np.bool_)


def _roots(grid: Grid, build: Build) -> tuple[Floats, Floats]:
    z, y = 0.04 * grid.height, 4.0 + build.shift[1]
    right, left = [z, y, -38 + build.shift[0]], [z + 3, y, 40 + build.shift[0]]
    return np.array(right, dtype=np.float32), np.array(left, dtype=np.float32)


def _lung(grid: Grid, build: Build, chest: Chest, rng: np.random.Generator) -> Lung:
    right, left = _roots(grid, build)
    far = [np.sqrt((grid.z - r[0]) ** 2 + (grid.y - r[1]) ** 2 + (grid.x - r[2]) ** 2) for r in (right, left)]
    return Lung(
        grid=grid,
        inside=chest.lung > 0.05,
        wall=chest.wall,
        hilum=np.asarray(np.minimum(far[0], far[1]), dtype=np.float32),
        lobe=lobe_of(grid, chest),
        y=np.broadcast_to(chest.y, grid.shape),
        coarse=smooth_noise(rng, grid, 13),
        fine=smooth_noise(rng, grid, 5.5),
    )


def _parenchyma(lung: Lung, rng: np.random.Generator) -> Floats:
    """Air-filled tissue: darker in front, denser at the back, mottled."""
    level = PARENCHYMA + rng.normal(0, 14)
    slope = rng.uniform(10, 34)
    hu = level + slope * lung.y / 70 + 11 * lung.coarse + 13 * lung.fine
    return np.asarray(hu, dtype=np.float32)


def _draw_trees(tissue: Floats, lung: Lung, rng: np.random.Generator) -> None:
    """Paint arteries, veins and the airways beside them, and often a crowd of vessels at one base."""
    roots = _roots_of(lung)
    for side, root in zip((lung.right, ~lung.right), roots, strict=True):
        inside = lung.inside & side & (lung.wall > 3)
        trees = [
            grow_tree(root + offset, pick_targets(rng, lung.grid, inside, 150), leaf)
            for offset, leaf in (
                (np.array([0, 5, 0], np.float32), 0.56),
                (np.array([-8, -8, 0], np.float32), 0.5),
            )
        ]
        if rng.random() < 0.35:
            crowd = inside & (lung.grid.u < 0.4) & (lung.hilum > 30) & (lung.hilum < 62) & (lung.y > 10)
            trees.append(grow_tree(root, pick_targets(rng, lung.grid, crowd, 45), 0.6))
        airways = bronchi_of(trees[0], 1.7)
        walls = Tree(airways.start, airways.end, airways.radius + np.float32(1.0))
        paint(tissue, splat(walls, lung.grid) * 0.55, -150.0)
        for tree in trees:
            limited = Tree(tree.start, tree.end, np.minimum(tree.radius, np.float32(6.5)))
            paint(tissue, splat(limited, lung.grid), np.maximum(tissue, 38.0))
        paint(tissue, splat(airways, lung.grid) * 0.9, -960.0)


def _roots_of(lung: Lung) -> tuple[Floats, Floats]:
    found = []
    for side in (lung.right, ~lung.right):
        at = int(np.argmin(np.where(side, lung.hilum, np.inf)))
        index = np.array([np.unravel_index(at, lung.hilum.shape)])
        found.append(lung.grid.millimetres(index)[0])
    return found[0], found[1]


def _render(hu: Floats, grid: Grid, style: Style, rng: np.random.Generator) -> Floats:
    """Blur by heart and breath motion, then as the kernel does."""
    if rng.random() < 0.5:
        _move(hu, grid, rng)
    sigma = 0.45 - 0.12 * style.kernel + 0.25 * max(0.0, 2.4 - grid.pixel)
    hu = ndimage.gaussian_filter(hu, (0.25, sigma, sigma))
    if style.kernel > 0:
        soft = ndimage.gaussian_filter(hu, (0, 1.0, 1.0))
        hu = hu + np.float32(0.45 * style.kernel) * (hu - soft)
    return np.asarray(hu, dtype=np.float32)


def _noise(sketch: Sketch, grid: Grid, style: Style, rng: np.random.Generator) -> Floats:
    """Add noise that grows with the tissue passed, as coarse as the kernel, and streaks between the shoulders."""
    grain = rng.standard_normal(grid.shape, dtype=np.float32)
    width = 0.55 - 0.55 * style.kernel
    if width > 0.1:
        grain = ndimage.gaussian_filter(grain, (0, width, width))
    deep = np.clip(sketch.body / 90, 0, 1)
    grain *= np.float32(style.noise) / grain.std() * (np.float32(0.55) + np.float32(0.6) * deep)
    streaks = rng.standard_normal((grid.shape[0], grid.shape[1], 1), dtype=np.float32)
    streaks = streaks * ramp(grid.u, 0.82, 1.0) * np.float32(style.noise * 0.8)
    grain += streaks * (sketch.body > 0)
    return np.asarray(sketch.hu + grain + np.float32(style.offset), dtype=np.float32)


def _move(hu: Floats, grid: Grid, rng: np.random.Generator) -> None:
    """Smear the slices around the heart and the diaphragm, as a patient who breathes does."""
    middle = rng.uniform(0.1, 0.45)
    amount = np.exp(-(((grid.u - middle) / 0.1) ** 2)) * np.float32(rng.uniform(0.3, 0.8))
    shift = max(1, round(rng.uniform(2, 5) / grid.pixel))
    moved = 0.5 * (np.roll(hu, shift, axis=1) + np.roll(hu, -shift, axis=2))
    paint(hu, np.asarray(np.broadcast_to(amount, hu.shape), np.float32), moved)
