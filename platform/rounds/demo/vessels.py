"""Branching pulmonary vessels and bronchi of a phantom: trees grown in the lung and splatted onto the grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rounds.demo.fields import Floats, Grid


@dataclass(frozen=True)
class Tree:
    """Segments in mm: start and end (n, 3) in (z, y, x), radius (n,)."""

    start: Floats
    end: Floats
    radius: Floats


def grow_tree(root: Floats, targets: Floats, leaf: float, power: float = 2.6) -> Tree:
    """Connect `targets` (n, 3) mm to `root` so that branches share paths; radii follow Murray's law."""
    order = np.argsort(((targets - root) ** 2).sum(axis=1))
    nodes = np.concatenate([root[None], targets[order]]).astype(np.float32)
    parent = np.zeros(len(nodes), dtype=np.int64)
    path = np.zeros(len(nodes), dtype=np.float32)
    for i in range(1, len(nodes)):
        step = np.sqrt(((nodes[:i] - nodes[i]) ** 2).sum(axis=1))
        best = int(np.argmin(step + 0.35 * path[:i]))
        parent[i], path[i] = best, path[best] + step[best]
    flow = np.ones(len(nodes))
    for i in range(len(nodes) - 1, 0, -1):
        flow[parent[i]] += flow[i]
    radius = (leaf * flow[1:] ** (1 / power)).astype(np.float32)
    return Tree(nodes[parent[1:]], nodes[1:], radius)


def splat(tree: Tree, grid: Grid) -> Floats:
    """Return the share 0 to 1 of every voxel (z, y, x) that the segments of `tree` fill."""
    share = np.zeros(int(np.prod(grid.shape)), dtype=np.float32)
    points, radius = _points(tree, grid.pixel * 0.6)
    spacing = np.array(grid.spacing, dtype=np.float32)
    at = points / spacing + (np.array(grid.shape, dtype=np.float32) - 1) / 2
    near = np.round(at).astype(np.int64)
    limit = np.array(grid.shape)
    rim = radius + grid.pixel / 2
    weight = np.minimum(1, 2 * radius / grid.pixel) / grid.pixel
    for reach in np.unique(np.ceil(rim / grid.pixel).astype(int)):
        group = np.ceil(rim / grid.pixel).astype(int) == reach
        tall = int(np.ceil(max(0.0, reach * grid.pixel - spacing[0] / 2) / spacing[0]))
        for dz in range(-tall, tall + 1):
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    voxel = near[group] + (dz, dy, dx)
                    away = (voxel - at[group]) * spacing
                    away[:, 0] = np.clip(np.abs(away[:, 0]) - spacing[0] / 2, 0, None)
                    filled = (rim[group] - np.sqrt((away**2).sum(axis=1))) * weight[group]
                    ok = (filled > 0.02) & ((voxel >= 0) & (voxel < limit)).all(axis=1)
                    flat = (voxel[ok, 0] * limit[1] + voxel[ok, 1]) * limit[2] + voxel[ok, 2]
                    np.maximum.at(share, flat, np.minimum(filled[ok], 1))
    return share.reshape(grid.shape)


def _points(tree: Tree, step: float) -> tuple[Floats, Floats]:
    along = tree.end - tree.start
    count = np.maximum(2, np.ceil(np.sqrt((along**2).sum(axis=1)) / step)).astype(np.int64)
    which = np.repeat(np.arange(len(count)), count)
    first = np.repeat(np.cumsum(count) - count, count)
    share = ((np.arange(len(which)) - first) / (count[which] - 1)).astype(np.float32)
    return tree.start[which] + share[:, None] * along[which], tree.radius[which]


def bronchi_of(tree: Tree, smallest: float) -> Tree:
    """Return the airways that run beside the vessels wider than `smallest` mm, a little apart from them."""
    wide = tree.radius > smallest
    beside = np.stack([np.zeros(wide.sum()), tree.radius[wide] * 1.1, tree.radius[wide] * 1.3], axis=1)
    away = np.asarray(beside + np.array([0, 1.2, 0.4]), dtype=np.float32)
    return Tree(tree.start[wide] + away, tree.end[wide] + away, tree.radius[wide] * np.float32(0.8))


def pick_targets(rng: np.random.Generator, grid: Grid, mask: NDArray[np.bool_], count: int) -> Floats:
    """Draw `count` points in mm (n, 3) within `mask`, jittered inside their voxel."""
    inside = np.flatnonzero(mask)
    if len(inside) == 0:
        return np.zeros((0, 3), dtype=np.float32)
    index = np.stack(np.unravel_index(rng.choice(inside, count), mask.shape), axis=1)
    jitter = rng.uniform(-0.5, 0.5, index.shape) * np.array(grid.spacing)
    return np.asarray(grid.millimetres(index) + jitter, dtype=np.float32)
