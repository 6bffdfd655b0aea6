"""Toy chests for tests: a body, two lungs, vessels, and lesions whose shape and texture tell the diagnosis."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Shape = tuple[int, int, int]
SPACING = (2.5, 1.0, 1.0)
TOY: Shape = (24, 72, 96)
KINDS = ("covid", "other", "covid", "healthy")


@dataclass(frozen=True)
class Chest:
    """A phantom scan: HU and lesions (z, y, x) on the training grid."""

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    diagnosis: str


def chest(diagnosis: str, seed: int, shape: Shape = TOY) -> Chest:
    """Draw a chest; COVID has several pale peripheral lesions on both sides, other disease one dense one."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[(x / 0.92) ** 2 + (y / 0.85) ** 2 < 1] = 40
    lungs = _ellipsoid((z, y, x), (0, 0, -0.42), (1.1, 0.6, 0.34))
    lungs |= _ellipsoid((z, y, x), (0, 0, 0.42), (1.1, 0.6, 0.34))
    hu[lungs] = -860
    vessels = ndimage.gaussian_filter(rng.standard_normal(shape), (0.8, 1.2, 1.2))
    hu[lungs & (vessels > 2.3 * vessels.std())] = -150
    mask = np.zeros(shape, dtype=bool)
    if diagnosis != "healthy":
        mask, level = _lesions((z, y, x), diagnosis, lungs, rng)
        hu[mask] = np.maximum(hu[mask], level)
    hu = ndimage.gaussian_filter(hu, (0.3, 0.7, 0.7)) + rng.normal(0, 35, shape)
    return Chest(np.clip(hu, -1024, 1500).astype(np.int16), mask.astype(np.uint8), diagnosis)


def _ellipsoid(
    grid: tuple[NDArray[np.float64], ...], centre: tuple[float, ...], radii: tuple[float, ...]
) -> NDArray[np.bool_]:
    parts = ((axis - c) ** 2 / r**2 for axis, c, r in zip(grid, centre, radii, strict=True))
    inside: NDArray[np.bool_] = sum(parts, np.zeros_like(grid[0])) < 1
    return inside


def _lesions(
    grid: tuple[NDArray[np.float64], ...],
    diagnosis: str,
    lungs: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], float]:
    mask = np.zeros(lungs.shape, dtype=bool)
    covid = diagnosis == "covid"
    for number in range(int(rng.integers(3, 7)) if covid else 1):
        side = -1 if number % 2 else 1
        angle = rng.uniform(-1.2, 1.2)
        reach = 0.8 if covid else 0.25
        centre = (
            rng.uniform(-0.6, 0.6),
            0.6 * reach * np.sin(angle),
            side * (0.42 + 0.34 * reach * np.cos(angle)),
        )
        radii = rng.uniform(0.12, 0.24, 3) if covid else rng.uniform(0.22, 0.4, 3)
        mask |= _ellipsoid(grid, centre, tuple(float(r) for r in radii))
    return mask & lungs, float(rng.uniform(-650, -450) if covid else rng.uniform(-120, 20))


def write_nifti(path: Path, array: NDArray[np.generic], spacing: Iterable[float] = SPACING) -> None:
    """Write (z, y, x) as .nii.gz with a spacing (z, y, x) in mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*list(spacing)[::-1], 1.0])
    file = nib.nifti1.Nifti1Image(array.transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    nib.nifti1.save(file, path)  # type: ignore[no-untyped-call]


def entry(folder: Path, name: str, split: str, drawn: Chest, patient: str | None = None) -> dict[str, object]:
    """Write a chest into a data set's folder and return its manifest entry."""
    write_nifti(folder / "images" / f"{name}.nii.gz", drawn.image)
    write_nifti(folder / "masks" / f"{name}.nii.gz", drawn.mask)
    return {
        "id": name,
        "patient": patient or f"patient-{name}",
        "split": split,
        "image": f"images/{name}.nii.gz",
        "mask": f"masks/{name}.nii.gz",
        "diagnosis": drawn.diagnosis,
    }


def write_manifest(
    folder: Path, entries: list[dict[str, object]], spacing: tuple[float, ...] = SPACING
) -> None:
    """Write manifest.json."""
    document = {"spacing_mm": list(spacing), "cases": entries}
    (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")


def data_set(folder: Path, sizes: Mapping[str, int], seed: int = 0, shape: Shape = TOY) -> Path:
    """Write a data set of toy chests with `sizes` cases a split, half of them COVID."""
    entries = [
        entry(
            folder,
            f"{split}-{number}",
            split,
            chest(KINDS[number % 4], hash_seed(seed, split, number), shape),
        )
        for split, size in sizes.items()
        for number in range(size)
    ]
    write_manifest(folder, entries)
    return folder


def hash_seed(seed: int, split: str, number: int) -> int:
    """Return a seed of its own for each case."""
    return seed * 10_000 + {"train": 0, "val": 1000, "test": 2000}[split] + number
