"""The chest around the lungs of a phantom: body wall, ribs, spine, heart, great vessels, airways, upper abdomen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rounds.demo.fields import Floats, Grid, cover, paint, ramp, smooth_noise

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, STOMACH = -1000.0, -102.0, 52.0, 42.0, 60.0, 50.0, 28.0
MARROW, CORTEX, CARTILAGE = 190.0, 620.0, 110.0
RIB_SPACING = 27.0  # mm along the spine, for lungs 240 mm high
LUNG_HEIGHT = 240.0


@dataclass(frozen=True)
class Build:
    """How one synthetic patient is built; lengths in mm, heights as fractions of the scan."""

    width: float
    depth: float
    fat: float
    heart: float
    dome_right: float
    dome_left: float
    trachea: float
    rib_phase: float
    tilt: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class Chest:
    """A painted chest: `hu`, share of lung per voxel, depth below the inner chest wall in mm, all (z, y, x)."""

    hu: Floats
    lung: Floats
    wall: Floats
    body: Floats
    x: Floats
    y: Floats


def draw_build(rng: np.random.Generator) -> Build:
    """Draw the build of a patient."""
    dome = rng.uniform(0.24, 0.36)
    return Build(
        width=rng.uniform(138, 154),
        depth=rng.uniform(93, 106),
        fat=rng.uniform(6, 20),
        heart=rng.uniform(0.9, 1.18),
        dome_right=dome,
        dome_left=dome - rng.uniform(0.02, 0.08),
        trachea=rng.uniform(7.5, 9.5),
        rib_phase=rng.uniform(0, 1),
        tilt=rng.uniform(-0.05, 0.05),
        shift=(rng.uniform(-6, 6), rng.uniform(-8, 2)),
    )


def _outline(
    x: Floats, y: Floats, width: Floats, front: Floats, back: Floats | float, power: float
) -> Floats:
    """Depth in mm below a rounded outline, measured along the ray to its centre."""
    half = np.where(y > 0, back, front)
    level = (np.abs(x / width) ** power + np.abs(y / half) ** power) ** np.float32(1 / power)
    radius = np.sqrt(x * x + y * y)
    return np.asarray(np.minimum(radius * (1 / np.maximum(level, 0.02) - 1), 90.0), dtype=np.float32)


def _body(grid: Grid, build: Build, x: Floats, y: Floats) -> Floats:
    shoulders = ramp(grid.u, 0.72, 1.0)
    width = build.width * (1 + 0.16 * shoulders) + build.fat * 0.5
    front = build.depth * (1 - 0.2 * shoulders) + build.fat * 0.4
    return _outline(x, y, width, front, build.depth * 0.96 + build.fat * 0.2, 2.35)


def _cage(grid: Grid, build: Build, x: Floats, y: Floats) -> Floats:
    """Depth inside the inner chest wall; narrow at the apex, flat at the back, notched by the spine."""
    apex = ramp(grid.u, 0.5, 1.06)
    width = (build.width - 17) * (1 - 0.44 * apex)
    front = (build.depth - 14) * (1 - 0.42 * apex)
    back = np.float32(build.depth - 17) * (1 - 0.12 * apex)
    depth = _outline(x, y + 4 - 6 * apex, width, front, back, 2.2)
    return np.asarray(depth, dtype=np.float32)


def _disc(x: Floats, y: Floats, at: tuple[Floats | float, Floats | float], radius: Floats | float) -> Floats:
    return np.asarray(radius - np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2), dtype=np.float32)


def _ellipse(
    x: Floats, y: Floats, at: tuple[float, float], axes: tuple[Floats | float, Floats | float]
) -> Floats:
    level = np.sqrt(((x - at[0]) / axes[0]) ** 2 + ((y - at[1]) / axes[1]) ** 2)
    mean = np.sqrt(np.asarray(axes[0]) * np.asarray(axes[1]))
    return np.asarray((1 - level) * mean, dtype=np.float32)


def _between(u: Floats, low: float, high: float, edge: float = 0.05) -> Floats:
    """Radius factor of a structure that lives between two heights: 1 inside, falling to -1 outside."""
    return 2 * np.minimum(ramp(u, low - edge, low + edge), 1 - ramp(u, high - edge, high + edge)) - 1


def _heart(grid: Grid, build: Build, x: Floats, y: Floats) -> Floats:
    t = (grid.u - 0.30) / 0.25
    swell = np.sqrt(np.clip(1 - t * t, 0.0, 1))
    lean = 12 * t
    at_x, at_y = 16 - lean, np.float32(-22)
    dx, dy = x - at_x, y - at_y
    along, across = dx * 0.90 - dy * 0.43, dx * 0.43 + dy * 0.90
    level = np.sqrt((along / 60) ** 2 + (across / 44) ** 2)
    return np.asarray((swell * build.heart - level) * 50, dtype=np.float32)


def _vessels(grid: Grid, x: Floats, y: Floats) -> list[Floats]:
    u = grid.u
    arch = np.maximum(np.abs(x - 4 - 0.36 * y) - 11, np.abs(y - 6) - 30)
    return [
        _disc(x, y, (19.0 - 8 * ramp(u, 0.3, 0.0), 36.0), 12.0 * _between(u, -0.2, 0.72)),
        _disc(x, y, (-10.0, -24.0), 16.0 * _between(u, 0.40, 0.72)),
        _disc(x, y, (-27.0, -20.0), 9.5 * _between(u, 0.42, 0.9)),
        _disc(x, y, (14.0, -30.0), 15.0 * _between(u, 0.42, 0.61)),
        np.asarray(-arch + 12 * (_between(u, 0.70, 0.77) - 1), dtype=np.float32),
        np.minimum(_ellipse(x, y, (0.0, -4.0), (46.0, 12.0)), 12.0 * _between(u, 0.49, 0.59)),
        _disc(x, y, (-17.0, -12.0), 7.5 * _between(u, 0.72, 1.2)),
        _disc(x, y, (20.0, -10.0), 6.5 * _between(u, 0.76, 1.2)),
        _disc(x, y, (-14.0, 2.0), 6.0 * _between(u, 0.74, 1.2)),
        _disc(x, y, (16.0, 8.0), 6.0 * _between(u, 0.74, 1.2)),
    ]


def _middle(grid: Grid, x: Floats, y: Floats) -> Floats:
    """The fatty column between the lungs: thin behind the sternum, wide at the roots, wide again at the inlet."""
    roots = np.exp(-(((grid.u - 0.58) / 0.16) ** 2))
    behind = np.exp(-(((y + 62) / 22) ** 2))
    width = 13 + 14 * roots * np.exp(-(((y + 8) / 34) ** 2)) + 10 * ramp(grid.u, 0.78, 1.0)
    low = 6 * (1 - ramp(grid.u, 0.1, 0.5))
    return np.asarray(width * (1 - 0.55 * behind) + low - np.abs(x - 2), dtype=np.float32)


def _dome(grid: Grid, build: Build, x: Floats, y: Floats) -> Floats:
    """Height above the diaphragm as a fraction of the scan, positive in the lung."""
    right = x < 4
    across = np.where(right, (x + 56) / 62, (x - 52) / 66)
    along = np.where(y > -14, (y + 14) / 74, (y + 14) / 118)
    top = np.where(right, np.float32(build.dome_right), np.float32(build.dome_left))
    return np.asarray(grid.u - (top - 0.26 * (across**2 + along**2)), dtype=np.float32)


def _abdomen(grid: Grid, build: Build, x: Floats, y: Floats, ripple: Floats) -> Floats:
    hu = np.full(grid.shape, FAT, dtype=np.float32)
    low = 1 - ramp(grid.u, 0.0, 0.5)
    paint(hu, cover(28 + 10 * ripple + 30 * low * 0.3 - x + 0 * y, 4), LIVER)
    stomach = _ellipse(x, y, (46.0, -22.0), (44.0, 36.0)) + 3 * ripple
    paint(hu, cover(stomach, 4), STOMACH + 18 * ripple)
    paint(hu, cover(np.minimum(stomach - 4, -38 - y + 0 * x), 3), -960)
    paint(hu, cover(_ellipse(x, y, (88.0, 34.0), (36.0, 46.0)) + 2 * ripple, 4), SPLEEN)
    return hu


def _ribs(grid: Grid, build: Build, x: Floats, y: Floats, wall: Floats) -> tuple[Floats, Floats]:
    """Depth inside rib bone and share of it that is cartilage."""
    from_back = (1 - y / np.sqrt(x * x + y * y + 1)) / 2
    drop = np.float32(62) * from_back**1.2
    at = (grid.u * np.float32(LUNG_HEIGHT) + drop) / np.float32(RIB_SPACING) + np.float32(build.rib_phase)
    off = np.abs(at - np.round(at)) * np.float32(RIB_SPACING)
    along = 6.2 - off
    through = 4.2 - np.abs(wall + 5.2)
    front = ramp(-y, 38, 56) * (np.abs(x) < 62)
    return np.minimum(along * 0.8, through), front


def _bones(
    grid: Grid, build: Build, x: Floats, y: Floats, wall: Floats, back: float
) -> list[tuple[Floats, Floats]]:
    """Shares and HU of sternum, shoulder blades, vertebra and its arch."""
    u = grid.u
    disc = np.abs(np.mod(u * LUNG_HEIGHT / RIB_SPACING + build.rib_phase, 1) - 0.5) > 0.39
    body = _ellipse(x, y, (0.0, back), (19.0, 15.5))
    canal = _disc(x, y, (0.0, back + 23), 8.0)
    arch = np.minimum(_ellipse(x, y, (0.0, back + 24), (16.0, 13.0)), -canal)
    spine = np.minimum(4.0 - np.abs(x), 13 - np.abs(y - back - 41) + 0 * x)
    wings = np.minimum(4.5 - np.abs(y - back - 24 - 0.16 * np.abs(x)), 34 - np.abs(x))
    plates = np.minimum(3.4 - np.abs(wall + 21 + 0.1 * (np.abs(x) - 70)), 34 - np.abs(np.abs(x) - 86))
    plates = np.minimum(plates, np.minimum(y - 22, 30 * (u - 0.58)))
    breast_bone = np.minimum(17 - np.abs(x), 5.0 - np.abs(wall + 5.5))
    breast_bone = np.minimum(breast_bone, np.minimum(-y - 20, 60 * (u - 0.30)))
    flat = np.broadcast_to(np.where(disc, np.float32(95), np.float32(MARROW)), grid.shape)
    found = []
    for depth, inner in (
        (wings, MARROW),
        (spine, MARROW),
        (arch, 330.0),
        (plates, 260.0),
        (breast_bone, 170.0),
    ):
        found.append(
            (cover(depth, grid.pixel), np.where(depth < 1.6, np.float32(CORTEX * 0.8), np.float32(inner)))
        )
    rim = np.where(body < 2.0, np.float32(CORTEX * 0.75), flat)
    found.append((cover(body, grid.pixel), np.where(disc, np.float32(100), rim)))
    return [(np.asarray(share, np.float32), np.asarray(hu, np.float32)) for share, hu in found]


def _airway(grid: Grid, build: Build, x: Floats, y: Floats) -> Floats:
    """Depth inside the trachea and the two main bronchi."""
    u, fork = grid.u, 0.63
    down = np.clip((fork - u) / 0.12, 0, 1.3)
    side = np.where(x < 0, np.float32(-1), np.float32(1))
    run = np.where(x < 0, np.float32(26), np.float32(30))
    trachea = _disc(x, y, (0.0, 2.0), build.trachea * _between(u, fork, 1.2, 0.02))
    main = (build.trachea * 0.78) * np.where(down < 1.25, np.float32(1), np.float32(-1))
    main = np.where(u < fork + 0.015, main, np.float32(-5))
    at_x = side * (4 + run * down)
    stretch = np.where(down < 1.1, np.float32(1.7), np.float32(1))
    dx = (x - at_x) / stretch
    bronchi = main - np.sqrt(dx**2 + (y - 6 - 6 * down) ** 2)
    return np.asarray(np.maximum(trachea, bronchi), dtype=np.float32)


def _wall_tissue(
    hu: Floats, grid: Grid, build: Build, body: Floats, y: Floats, x: Floats, ripple: Floats
) -> None:
    """Paint skin, fat and muscle of the chest wall into the body."""
    fat = build.fat * (0.8 + 0.5 * np.exp(-(((y + 50) / 40) ** 2))) + 2.5 * ripple
    paint(hu, cover(body, grid.pixel), FAT)
    paint(hu, cover(np.float32(3.4) - np.abs(body - 1.0) - 1.6, grid.pixel), 0.0)
    paint(hu, cover(body - fat, grid.pixel * 1.4), MUSCLE + 8 * ripple)


def _table(hu: Floats, grid: Grid, build: Build) -> None:
    curve = build.depth + 13 - grid.x**2 / 1900
    for offset, value in ((0.0, -350.0), (15.0, -520.0)):
        paint(hu, cover(1.3 - np.abs(grid.y - curve - offset), grid.pixel) * (np.abs(grid.x) < 160), value)
    paint(hu, cover(6.5 - np.abs(grid.y - curve - 7.5), grid.pixel) * (np.abs(grid.x) < 160), -930.0)


def paint_chest(grid: Grid, build: Build, rng: np.random.Generator) -> Chest:
    """Paint everything but the contents of the lungs, which are left as a share to fill."""
    turn = np.float32(build.tilt)
    x = grid.x - build.shift[0] + turn * grid.y
    y = grid.y - build.shift[1] - turn * grid.x
    ripple = smooth_noise(rng, grid, 30)
    body, wall = _body(grid, build, x, y), _cage(grid, build, x, y) + 1.2 * ripple
    back = build.depth - 57
    hu = np.full(grid.shape, AIR, dtype=np.float32)
    _table(hu, grid, build)
    _wall_tissue(hu, grid, build, body, y, x, ripple)
    rib, cartilage = _ribs(grid, build, x, y, wall)
    bone = np.where(rib < 1.5, np.float32(CORTEX * 0.7), np.float32(MARROW))
    paint(hu, cover(rib, grid.pixel), bone + cartilage * (CARTILAGE - bone))

    dome, middle, heart = _dome(grid, build, x, y), _middle(grid, x, y), _heart(grid, build, x, y)
    pipes = _vessels(grid, x, y)
    spinal = np.maximum(
        _ellipse(x, y, (0.0, back), (23.0, 20.0)), _ellipse(x, y, (0.0, back + 30), (34.0, 26.0))
    )
    solid = np.maximum(np.maximum(middle, heart), spinal)
    for pipe in pipes:
        solid = np.maximum(solid, pipe + 1.5)
    inside = cover(wall, grid.pixel)
    paint(hu, inside, _abdomen(grid, build, x, y, ripple))
    paint(hu, inside * cover(dome * LUNG_HEIGHT + 2, 3), FAT)
    paint(hu, inside * cover(heart + 3, 3), FAT)
    paint(hu, inside * cover(heart, 3), BLOOD + 4 * ripple)
    for pipe in pipes:
        paint(hu, inside * cover(pipe, grid.pixel), BLOOD)
    for share, value in _bones(grid, build, x, y, wall, back):
        paint(hu, share * cover(body - 4, grid.pixel), value)
    airway = _airway(grid, build, x, y)
    paint(hu, cover(airway + 2.2, grid.pixel), 20.0)
    lung_depth = np.minimum(np.minimum(wall - 1.0, -solid), dome * np.float32(min(grid.height, LUNG_HEIGHT)))
    lung = cover(np.minimum(lung_depth, -airway - 2.5), grid.pixel)
    paint(hu, cover(airway, grid.pixel), -985.0)
    return Chest(hu, lung, wall, body, x, y)


def lobe_of(grid: Grid, chest: Chest) -> NDArray[np.uint8]:
    """Number the lobe of every voxel: 1 upper, 2 middle, 3 lower right; 4 upper, 5 lower left."""
    oblique = chest.y / 150 + np.float32(0.46) - grid.u
    right = np.where(oblique > 0, 3, np.where(grid.u < 0.47, 2, 1))
    left = np.where(oblique > 0, 5, 4)
    return np.asarray(np.where(chest.x < 0, right, left), dtype=np.uint8)
