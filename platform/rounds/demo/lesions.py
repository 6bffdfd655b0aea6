"""What disease looks like in a phantom lung: COVID-19, other lung disease, and findings that only look like disease."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rounds.demo.fields import Floats, Grid, Triple, cover, paint, ramp


@dataclass(frozen=True)
class Lung:
    """The lungs to draw disease in; all arrays (z, y, x), `wall` and `hilum` in mm."""

    grid: Grid
    inside: NDArray[np.bool_]
    wall: Floats
    hilum: Floats
    lobe: NDArray[np.uint8]
    y: Floats
    coarse: Floats
    fine: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Voxels on the patient's right."""
        return self.lobe <= 3


@dataclass(frozen=True)
class Patch:
    """One lesion to paint: centre and half-axes in mm (z, y, x along the wall), HU at rim and core."""

    centre: Triple
    axes: Triple
    turn: float
    rim: float
    core: float
    core_size: float
    rough: float
    edge: float
    texture: float
    cavity: float = 0.0
    lobe: int = 0


def _centres(rng: np.random.Generator, lung: Lung, weight: Floats, count: int) -> list[Triple]:
    """Draw centres in mm by `weight`; later ones keep away from earlier ones."""
    inside = np.flatnonzero(lung.inside & (weight > 0))
    if len(inside) == 0:
        return []
    p = weight.ravel()[inside].astype(np.float64)
    drawn = rng.choice(inside, size=max(count * 6, 12), p=p / p.sum())
    points = lung.grid.millimetres(np.stack(np.unravel_index(drawn, lung.inside.shape), axis=1))
    kept: list[Floats] = []
    for point in points:
        if len(kept) < count and all(np.linalg.norm(point - other) > 16 for other in kept):
            kept.append(point)
    return [(float(p[0]), float(p[1]), float(p[2])) for p in kept]


def draw_covid(rng: np.random.Generator, lung: Lung) -> list[Patch]:
    """Draw multiple, bilateral, peripheral and posterior ground-glass, some consolidated; one in twenty atypical."""
    atypical = rng.random() < 0.05
    one_sided = rng.random() < (0.5 if atypical else 0.07)
    depth = rng.uniform(16, 30) if atypical else rng.uniform(6, 11)
    back = rng.uniform(0.8, 4.0)
    weight = np.exp(-np.abs(lung.wall - 6) / depth) * (1 + back * ramp(lung.y, -20, 50))
    weight = weight * (1 + rng.uniform(0.2, 1.2) * (1 - ramp(lung.grid.u, 0.3, 0.8)))
    if one_sided:
        weight = weight * (lung.right if rng.random() < 0.5 else ~lung.right)
    count = (
        int(np.clip(np.round(rng.lognormal(1.85, 0.4)), 3, 12)) if not atypical else int(rng.integers(1, 4))
    )
    extent, dense = rng.lognormal(3.0, 0.2), rng.uniform(0, 0.35)
    patches = []
    for centre in _centres(rng, lung, weight.astype(np.float32), count):
        tangent = float(np.clip(extent * rng.lognormal(0, 0.3), 11, 46))
        core = rng.random() < dense
        patches.append(
            Patch(
                centre=centre,
                axes=(tangent * rng.uniform(0.6, 1.0), tangent * rng.uniform(0.45, 0.8), tangent),
                turn=float(np.arctan2(centre[1] * 1.5, centre[2]) + rng.normal(0, 0.3)),
                rim=rng.uniform(-680, -480),
                core=rng.uniform(-250, -20) if core else rng.uniform(-560, -400),
                core_size=rng.uniform(0.35, 0.7) if core else 0.5,
                rough=rng.uniform(0.18, 0.34),
                edge=rng.uniform(2.5, 6),
                texture=rng.uniform(25, 80),
            )
        )
    return patches


def _mass(rng: np.random.Generator, lung: Lung) -> list[Patch]:
    one = rng.random() < 0.55
    count, halo = 1 if one else int(rng.integers(2, 6)), rng.random() < 0.35
    weight = lung.inside * np.float32(1.0) * (lung.wall > 6)
    patches = []
    for centre in _centres(rng, lung, weight, count):
        size = rng.uniform(16, 30) if one else rng.uniform(10, 15)
        grow = rng.uniform(1.3, 1.7) if halo else 1.0
        patches.append(
            Patch(
                centre=centre,
                axes=(size * grow, size * rng.uniform(0.8, 1.1) * grow, size * grow),
                turn=rng.uniform(0, np.pi),
                rim=-560.0 if halo else rng.uniform(-20, 40),
                core=rng.uniform(-5, 55),
                core_size=1 / grow if halo else 0.9,
                rough=rng.uniform(0.06, 0.2),
                edge=rng.uniform(1.5, 3),
                texture=14.0,
                cavity=rng.uniform(0.3, 0.55) if size > 10 and rng.random() < 0.3 else 0.0,
            )
        )
    return patches


def _lobar(rng: np.random.Generator, lung: Lung) -> list[Patch]:
    lobe = int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.15, 0.25, 0.15, 0.25]))
    size = rng.uniform(28, 48)
    return [
        Patch(
            centre=centre,
            axes=(size, size * rng.uniform(0.7, 1.1), size),
            turn=rng.uniform(0, np.pi),
            rim=rng.uniform(-520, -200),
            core=rng.uniform(-120, 35),
            core_size=rng.uniform(0.7, 0.95),
            rough=rng.uniform(0.15, 0.3),
            edge=rng.uniform(2, 5),
            texture=rng.uniform(20, 60),
            lobe=lobe,
        )
        for centre in _centres(rng, lung, np.float32(1.0) * (lung.lobe == lobe), 1)
    ]


def _bronchial(rng: np.random.Generator, lung: Lung) -> list[Patch]:
    weight = np.exp(-lung.hilum / 26) * (lung.wall > 14)
    if rng.random() < 0.75:
        weight = weight * (lung.right if rng.random() < 0.5 else ~lung.right)
    patches = []
    for centre in _centres(rng, lung, weight.astype(np.float32), int(rng.integers(2, 8))):
        size = rng.uniform(12, 22)
        patches.append(
            Patch(
                centre=centre,
                axes=(size, size * rng.uniform(0.6, 1.2), size),
                turn=rng.uniform(0, np.pi),
                rim=rng.uniform(-620, -350),
                core=rng.uniform(-300, 20),
                core_size=rng.uniform(0.4, 0.8),
                rough=rng.uniform(0.2, 0.38),
                edge=rng.uniform(2.5, 5),
                texture=rng.uniform(25, 70),
            )
        )
    return patches


def _viral(rng: np.random.Generator, lung: Lung) -> list[Patch]:
    """Ground-glass as in COVID-19, but anywhere in the lung and less flat: the hard negatives."""
    depth = rng.uniform(18, 60)
    weight = np.exp(-np.abs(lung.wall - rng.uniform(8, 35)) / depth) * lung.inside
    patches = []
    for centre in _centres(rng, lung, weight.astype(np.float32), int(rng.integers(2, 9))):
        size = rng.uniform(12, 26)
        patches.append(
            Patch(
                centre=centre,
                axes=(size * rng.uniform(0.7, 1.1), size * rng.uniform(0.7, 1.2), size),
                turn=rng.uniform(0, np.pi),
                rim=rng.uniform(-700, -520),
                core=rng.uniform(-600, -350),
                core_size=rng.uniform(0.4, 0.7),
                rough=rng.uniform(0.15, 0.35),
                edge=rng.uniform(3, 8),
                texture=rng.uniform(15, 60),
            )
        )
    return patches


OTHER = {
    "lobar": (_lobar, 0.30),
    "bronchial": (_bronchial, 0.30),
    "mass": (_mass, 0.30),
    "viral": (_viral, 0.10),
}


def draw_other(rng: np.random.Generator, lung: Lung) -> tuple[str, list[Patch]]:
    """Draw lobar or bronchial pneumonia, a mass or nodules, or another viral pneumonia; return its name too."""
    names = list(OTHER)
    name = names[int(rng.choice(len(names), p=[OTHER[n][1] for n in names]))]
    return name, OTHER[name][0](rng, lung)


def paint_patches(hu: Floats, lesion: NDArray[np.bool_], lung: Lung, patches: list[Patch]) -> None:
    """Paint `patches` into the parenchyma `hu` and mark them in `lesion`, both in place."""
    grid = lung.grid
    for patch in patches:
        reach = max(patch.axes) * 1.6
        box = grid.box(patch.centre, (patch.axes[0] * 1.6, reach, reach))
        z, y, x = grid.z[box[0]], grid.y[:, box[1]], grid.x[:, :, box[2]]
        dz, dy, dx = z - patch.centre[0], y - patch.centre[1], x - patch.centre[2]
        cos, sin = np.cos(patch.turn), np.sin(patch.turn)
        inward, beside = dx * cos + dy * sin, dy * cos - dx * sin
        level = np.sqrt(
            (dz / patch.axes[0]) ** 2 + (inward / patch.axes[1]) ** 2 + (beside / patch.axes[2]) ** 2
        )
        level = (
            level
            + np.float32(patch.rough) * lung.coarse[box]
            + np.float32(patch.rough * 0.35) * lung.fine[box]
        )
        mean = float(np.prod(patch.axes) ** (1 / 3))
        share = cover(np.asarray((1 - level) * mean, np.float32), patch.edge) * lung.inside[box]
        if patch.lobe:
            share = share * (lung.lobe[box] == patch.lobe)
        heart = cover(np.asarray((patch.core_size - level) * mean, np.float32), patch.edge * 2)
        value = patch.rim + heart * (patch.core - patch.rim) + patch.texture * lung.fine[box]
        if patch.cavity:
            hollow = cover(np.asarray((patch.cavity - level) * mean, np.float32), 3)
            value = value + hollow * (-930 - value)
        value = np.maximum(value, hu[box] + 60 * (value < -300))
        paint(hu[box], share, np.asarray(value, np.float32))
        lesion[box] |= share >= 0.5


def paint_mimics(hu: Floats, rng: np.random.Generator, lung: Lung) -> None:
    """Paint what is not a lesion: dependent density, emphysema, a scar; in place and unmarked."""
    if rng.random() < 0.6:
        reach, strength = rng.uniform(3, 9), rng.uniform(0.2, 0.55)
        low = 1 - ramp(lung.grid.u, 0.35, 0.75)
        band = cover(reach + 2 * lung.coarse - lung.wall, 5) * ramp(lung.y, 22, 50) * low
        paint(hu, np.asarray(band * lung.inside * strength, np.float32), -520.0)
    if rng.random() < 0.3:
        holes = ramp(lung.coarse + 0.5 * lung.fine + ramp(lung.grid.u, 0.3, 1.0), 1.3, 1.9)
        paint(hu, np.asarray(holes * lung.inside * 0.8, np.float32), -975.0)
    if rng.random() < 0.4:
        for centre in _centres(rng, lung, np.float32(1.0) * (lung.wall < 12), int(rng.integers(1, 3))):
            box = lung.grid.box(centre, (4, 18, 18))
            dy, dx = lung.grid.y[:, box[1]] - centre[1], lung.grid.x[:, :, box[2]] - centre[2]
            turn = rng.uniform(0, np.pi)
            line = np.minimum(0.9 - np.abs(dx * np.cos(turn) + dy * np.sin(turn)), 15 - np.hypot(dx, dy))
            paint(hu[box], np.asarray(cover(line, 2.4) * lung.inside[box] * 0.7, np.float32), -250.0)
