"""The scans that bench-ingest reads: phantoms of real size, small ones by the hundred, and real ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import generate_uid

from rounds.demo.dicom import write_scan
from rounds.demo.hospitals import PlannedScan, draw_cohort
from rounds.demo.phantoms import Phantom, make_phantom

SIZE = 512
FIELD_MM = 332.8
REAL = ("COVID-19/P001", "CAP/cap002")
DRAWN = 6
SMALL_SLICES = 30


@dataclass(frozen=True)
class Group:
    """Scans that are measured together, as one batch; every folder holds one series."""

    name: str
    folders: tuple[Path, ...]

    @property
    def slices(self) -> int:
        return sum(1 for folder in self.folders for path in folder.iterdir() if path.is_file())


def groups(into: Path, data: Path, scans: int, slices: int) -> list[Group]:
    """Make groups of so many scans under `into`; of real ones there are two, so most are copies under new names."""
    made = [
        _group(into, "1 mm, uncompressed", ("GE", "Philips"), "explicit", 1.0, scans, slices),
        _group(into, "1 mm, JPEG Lossless", ("Siemens", "Philips"), "jpeg_lossless", 1.0, scans, slices),
        _group(into, "2.5 mm, uncompressed", ("GE", "Philips"), "explicit", 2.5, scans, slices),
    ]
    real = tuple(data / "covid-ct-md" / name for name in REAL)
    if all(folder.is_dir() for folder in real):
        copies = tuple(
            _copy(real[number % len(real)], into / f"real-{number}", number) for number in range(scans)
        )
        made.append(Group("real, 2 mm, JPEG Lossless", copies))
    return made


def _copy(folder: Path, into: Path, number: int) -> Path:
    """Write a scan once more as another patient's, a HU brighter each time, so that no object is another's."""
    into.mkdir(parents=True)
    study, series = (
        generate_uid(entropy_srcs=["study", into.name]),
        generate_uid(entropy_srcs=["series", into.name]),
    )
    for path in sorted(folder.iterdir()):
        one = pydicom.dcmread(path)
        one.PatientID, one.StudyInstanceUID, one.SeriesInstanceUID = into.name.upper(), study, series
        one.SOPInstanceUID = generate_uid(entropy_srcs=[str(one.SOPInstanceUID), into.name])
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.RescaleIntercept = one.RescaleIntercept + number
        one.save_as(into / path.name)
    return into


def long_scan(into: Path, slices: int = 300) -> Path:
    """Make one scan of many slices, uncompressed: what the memory is measured with."""
    return _thin(into / "long", _planned("GE", 5), "explicit", 1.0, slices)


def small_scans(into: Path, count: int, size: int = 128) -> list[Path]:
    """Make scans of 30 slices, each of another patient; few are drawn anew, the noise of each is."""
    drawn: dict[int, Phantom] = {}
    folders = []
    step, pixel = 4.0, 332.8 / size
    shape = (SMALL_SLICES, size, size)
    for number, planned in enumerate(draw_cohort(count, 5, faulty=0)):
        if number % DRAWN not in drawn:
            drawn[number % DRAWN] = make_phantom(number, "covid", (step, 2.6, 2.6), (SMALL_SLICES, 128, 128))
        phantom = drawn[number % DRAWN]
        plan = replace(planned, spacing=(step, pixel, pixel), shape=shape, localizer=False)
        folder = into / "small" / f"{number:04d}"
        write_scan(plan, replace(phantom, hu=_noisy(_widened(phantom.hu, size), 8.0, number)), folder)
        folders.append(folder)
    return folders


def _widened(hu: npt.NDArray[np.int16], size: int) -> npt.NDArray[np.float32]:
    """Bring slices to `size` x `size` pixels."""
    planes = [cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in hu.astype(np.float32)]
    return np.asarray(planes, dtype=np.float32)


def _group(
    into: Path, name: str, vendors: tuple[str, str], syntax: str, step: float, scans: int, slices: int
) -> Group:
    folders = tuple(
        _thin(
            into / f"{syntax}-{step:g}-{number}",
            _planned(vendors[number % 2], number // 2),
            syntax,
            step,
            slices,
        )
        for number in range(scans)
    )
    return Group(name, folders)


def _planned(vendor: str, number: int) -> PlannedScan:
    return [one for one in draw_cohort(200, 3, faulty=0) if one.scanner.vendor == vendor][number]


def _thin(folder: Path, planned: PlannedScan, syntax: str, step: float, slices: int) -> Path:
    """Draw a chest at a quarter of the resolution, widen it to 512 x 512, and add the noise that belongs there."""
    coarse = FIELD_MM / (SIZE // 4)
    phantom = make_phantom(
        planned.seed, planned.diagnosis, (step, coarse, coarse), (slices, SIZE // 4, SIZE // 4)
    )
    hu = _widened(phantom.hu, SIZE)
    pixel = FIELD_MM / SIZE
    scanner = replace(planned.scanner, syntax=syntax)  # type: ignore[arg-type]
    plan = replace(planned, scanner=scanner, spacing=(step, pixel, pixel), shape=hu.shape, localizer=False)
    write_scan(plan, replace(phantom, hu=_noisy(hu, 20.0, planned.seed)), folder)
    return folder


def _noisy(
    hu: npt.NDArray[np.int16] | npt.NDArray[np.float32], sigma: float, seed: int
) -> npt.NDArray[np.int16]:
    noise = np.random.default_rng(seed).normal(0.0, sigma, hu.shape)
    noisy: npt.NDArray[np.int16] = np.clip(np.rint(hu + noise), -1024, 3071).astype(np.int16)
    return noisy
