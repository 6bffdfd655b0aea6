"""The plain-folder data set: manifest.json, images and masks on the training grid, and what is refused."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

Split = Literal["train", "val", "test"]
Diagnosis = Literal["covid", "other", "healthy"]
Image = NDArray[np.int16]
Mask = NDArray[np.uint8]
Spacing = tuple[float, float, float]
TRAINING_SPACING: Spacing = (2.5, 1.0, 1.0)
_TOLERANCE_MM = 1e-3


class DataError(ValueError):
    """A data set that cannot be trained or evaluated on; the message names the case by its id alone."""


@dataclass(frozen=True)
class Case:
    """One scan of the data set; `mask` is None where nobody labelled it."""

    id: str
    patient: str
    split: Split
    image: Path
    mask: Path | None
    diagnosis: Diagnosis | None

    @property
    def has_reference(self) -> bool:
        """Whether the lesions are known: from a mask, or because a healthy case has none."""
        return self.mask is not None or self.diagnosis == "healthy"


@dataclass(frozen=True)
class DataSet:
    """The cases of one manifest; `sha256` is that of the manifest file."""

    spacing: Spacing
    cases: tuple[Case, ...]
    sha256: str

    def split(self, name: Split) -> tuple[Case, ...]:
        """Return the cases of one split in the manifest's order."""
        return tuple(case for case in self.cases if case.split == name)


class _CaseEntry(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str
    patient: str
    split: Split
    image: str
    mask: str | None = None
    diagnosis: Diagnosis | None = None


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore")
    spacing_mm: tuple[float, float, float]
    cases: list[_CaseEntry]


def read_data_set(folder: Path) -> DataSet:
    """Read DIR/manifest.json and check it. Raises DataError; images are checked when they are read."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(f"{folder} holds no manifest.json")
    content = path.read_bytes()
    try:
        manifest = _Manifest.model_validate(json.loads(content))
    except (ValidationError, json.JSONDecodeError) as error:
        raise DataError(f"manifest.json does not fit: {error}") from error
    if not _same_spacing(manifest.spacing_mm, TRAINING_SPACING):
        raise DataError(
            f"the data set has a spacing of {manifest.spacing_mm} mm (z, y, x); "
            f"resample it to the training grid of {TRAINING_SPACING} mm first"
        )
    cases = tuple(_case(folder, entry) for entry in manifest.cases)
    _refuse_duplicates(cases)
    _refuse_leakage(cases)
    return DataSet(manifest.spacing_mm, cases, hashlib.sha256(content).hexdigest())


def _case(folder: Path, entry: _CaseEntry) -> Case:
    root = Path(os.path.abspath(folder))
    paths: list[Path | None] = []
    for name in (entry.image, entry.mask):
        path = None if name is None else Path(os.path.normpath(root / name))
        if path is not None and not path.is_relative_to(root):
            raise DataError(f"case {entry.id}: a file lies outside the data set's folder")
        if path is not None and not path.is_file():
            raise DataError(f"case {entry.id}: {name} is in the manifest but not in the folder")
        paths.append(path)
    image, mask = paths
    assert image is not None  # noqa: S101  an entry always names its image
    return Case(entry.id, entry.patient, entry.split, image, mask, entry.diagnosis)


def _refuse_duplicates(cases: tuple[Case, ...]) -> None:
    for name, count in Counter(case.id for case in cases).items():
        if count > 1:
            raise DataError(f"case {name} is in the manifest {count} times; ids must be unique")


def _refuse_leakage(cases: tuple[Case, ...]) -> None:
    splits: dict[str, set[str]] = {}
    for case in cases:
        splits.setdefault(case.patient, set()).add(case.split)
    leaking = {patient: found for patient, found in splits.items() if len(found) > 1}
    if leaking:
        patient, found = next(iter(leaking.items()))
        raise DataError(
            f"{len(leaking)} patient(s) are in more than one split, the first is {patient} in "
            f"{' and '.join(s for s in get_args(Split) if s in found)}; all cases of a patient go into one"
        )


def _same_spacing(found: tuple[float, ...], wanted: Spacing) -> bool:
    return bool(np.allclose(found, wanted, rtol=0, atol=_TOLERANCE_MM))


def refuse_off_grid(spacing: tuple[float, ...], what: str) -> None:
    """Raise DataError unless `spacing` (z, y, x) in mm is the training grid's."""
    if not _same_spacing(spacing, TRAINING_SPACING):
        shown = tuple(round(float(s), 4) for s in spacing)
        raise DataError(
            f"{what}: spacing is {shown} mm (z, y, x), the training grid is {TRAINING_SPACING} mm"
        )


def _load(path: Path, what: str) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    try:
        file = nib.nifti1.load(path)  # type: ignore[no-untyped-call]
        array = np.asanyarray(file.dataobj)
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{what}: not a readable NIfTI file") from error
    if array.ndim != 3 or min(array.shape) < 1:
        raise DataError(f"{what}: has shape {array.shape}, three dimensions are needed")
    refuse_off_grid(tuple(float(z) for z in file.header.get_zooms()[::-1]), what)
    return array.transpose(2, 1, 0), np.asarray(file.affine, dtype=np.float64)


def read_image(path: Path, what: str) -> tuple[Image, NDArray[np.float64]]:
    """Read HU (z, y, x) and the affine of a scan. Raises DataError, naming it by `what`, for a wrong grid."""
    array, affine = _load(path, what)
    if array.dtype == np.int16:
        return np.ascontiguousarray(array), affine
    if not np.isfinite(array).all():
        raise DataError(f"{what}: holds values that are not finite")
    return np.ascontiguousarray(np.clip(np.rint(array), -32768, 32767), dtype=np.int16), affine


def read_mask(path: Path, shape: tuple[int, ...], what: str) -> Mask:
    """Read a mask of label values (z, y, x). Raises DataError for a wrong shape or values between labels."""
    array, _ = _load(path, what)
    if array.shape != tuple(shape):
        raise DataError(f"{what}: the mask has shape {array.shape} (z, y, x), its image {tuple(shape)}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if (
        not np.isfinite(array).all()
        or array.min() < 0
        or array.max() > 255
        or (array != np.rint(array)).any()
    ):
        raise DataError(f"{what}: the mask holds values that are not whole labels of 0 to 255")
    return np.ascontiguousarray(array, dtype=np.uint8)


def write_mask(path: Path, mask: Mask, affine: NDArray[np.float64]) -> None:
    """Write a mask (z, y, x) as .nii.gz uint8 with the affine of its image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = nib.nifti1.Nifti1Image(mask.transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    nib.nifti1.save(file, path)  # type: ignore[no-untyped-call]
