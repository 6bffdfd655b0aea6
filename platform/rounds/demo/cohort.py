"""A cohort on disk: DICOM by hospital with its manifest, and the truth in a folder that is never ingested."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rounds.demo.dicom import grid_of, write_scan
from rounds.demo.hospitals import PlannedScan, manifest_csv
from rounds.demo.phantoms import Phantom, make_phantom
from rounds.imaging.grid import Grid


def make_planned(planned: PlannedScan) -> Phantom:
    """Draw the phantom of a planned scan on its source grid."""
    return make_phantom(planned.seed, planned.diagnosis, planned.spacing, planned.shape, planned.style)


def write_cohort(
    cohort: Sequence[PlannedScan],
    scans: Path,
    truths: Path,
    workers: int = 2,
    written: Callable[[int], None] = lambda files: None,
) -> int:
    """Write `scans`/HOSPITAL/SNNNN, `scans`/manifest.csv and `truths`/PATIENT_ID.npz; return how many files.

    `written` is called after each scan with the number of its DICOM files.
    """
    scans.mkdir(parents=True, exist_ok=True)
    truths.mkdir(parents=True, exist_ok=True)
    (scans / "manifest.csv").write_text(manifest_csv(cohort), encoding="utf-8")
    total = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        for done in as_completed([pool.submit(_write_one, one, scans, truths) for one in cohort]):
            total += done.result()
            written(done.result())
    return total


def _write_one(planned: PlannedScan, scans: Path, truths: Path) -> int:
    phantom = make_planned(planned)
    write_truth(planned, phantom, truths)
    return write_scan(planned, phantom, scans / planned.hospital.key / f"S{planned.number:04d}")


def write_truth(planned: PlannedScan, phantom: Phantom, folder: Path) -> Path:
    """Write the true lesions (z, y, x) and the affine of the source grid to `folder`/PATIENT_ID.npz."""
    path = folder / f"{planned.patient.patient_id}.npz"
    np.savez_compressed(path, lesion=phantom.lesion, affine=grid_of(planned).affine)
    return path


def read_truth(path: Path) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Read what `write_truth` wrote: the mask (z, y, x) and its grid."""
    with np.load(path) as stored:
        lesion = np.asarray(stored["lesion"], dtype=np.uint8)
        return lesion, Grid.of(lesion.shape, stored["affine"])
