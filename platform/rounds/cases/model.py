"""What ingest finds out about a scan, and what a manifest says about a patient."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

DIAGNOSES = ("covid", "other", "healthy")
SEXES = ("F", "M", "O")
AGE_CAP = 90
COLUMNS = ("patient_id", "diagnosis", "clinical_type", "age", "sex", "nat_date")


class Format(StrEnum):
    """What a mask is written as."""

    DICOM_SEG = "dicom-seg"
    NIFTI = "nifti"
    NRRD = "nrrd"


class ManifestInvalid(Exception):
    """The manifest has mistakes; the message names rows and columns, never what stands in them."""


class CaseUnknown(Exception):
    """There is no such case."""


@dataclass(frozen=True)
class PatientFacts:
    """What is known of a patient besides the scan; None where nothing is."""

    diagnosis: str | None = None
    clinical_type: str | None = None
    age: int | None = None
    sex: str | None = None
    nat_date: date | None = None


@dataclass(frozen=True)
class NewCase:
    """A scan that passed the gate: its bytes are in the object store, its row is yet to be written.

    `study` is the de-identified study UID, `sharpness` that of the kernel: soft, unknown or sharp.
    """

    series_key: str
    patient: str
    site: str
    manufacturer: str
    scanner: str
    source_slices: int
    source_spacing: tuple[float, float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    thickness: float | None
    lung_hu: float | None
    volume: str
    slices: tuple[str, ...]
    dicom: str
    policy_version: str
    study: str | None = None
    sharpness: str = "unknown"


@dataclass(frozen=True)
class Refused:
    """A scan that was refused, as the database may know it: numbers and codes, no name, no path."""

    series: str
    site: str
    reason: str
    detail: str
    files: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one series: cases (one for each of its volumes), quarantine entries, both, or nothing new."""

    accepted: tuple[Mapping[str, Any], ...] = field(default=())
    quarantined: tuple[Mapping[str, Any], ...] = field(default=())
    unchanged: int = 0


def read_manifest(text: str) -> dict[str, PatientFacts]:
    """Return facts by original patient id; raise ManifestInvalid listing every mistake by row and column.

    Columns: patient_id (needed), diagnosis (covid, other, healthy), clinical_type, age (years), sex (F, M, O),
    nat_date (YYYY-MM-DD); all but the first may be missing or empty. The first row of patients is row 2.
    """
    reader = csv.DictReader(io.StringIO(text))
    names = reader.fieldnames or []
    if "patient_id" not in names:
        raise ManifestInvalid(
            "the manifest has no column patient_id: " + ", ".join(COLUMNS) + " are understood"
        )
    unknown = [number for number, name in enumerate(names, 1) if name not in COLUMNS]
    if unknown:
        raise ManifestInvalid(f"column {unknown[0]} of the manifest is none of {', '.join(COLUMNS)}")
    found: dict[str, PatientFacts] = {}
    mistakes: list[str] = []
    for number, row in enumerate(reader, 2):
        patient = (row["patient_id"] or "").strip()
        wrong = [name for name in COLUMNS[1:] if not _readable(name, (row.get(name) or "").strip())]
        if not patient or patient in found:
            wrong.insert(0, "patient_id (empty or given twice)")
        if wrong or None in row:
            mistakes.append(f"row {number}: {', '.join(wrong) or 'too many columns'}")
        else:
            found[patient] = _facts({name: (row.get(name) or "").strip() for name in COLUMNS[1:]})
    if mistakes:
        raise ManifestInvalid("the manifest cannot be read: " + "; ".join(mistakes))
    return found


def _readable(name: str, text: str) -> bool:
    if not text:
        return True
    match name:
        case "diagnosis":
            return text.lower() in DIAGNOSES
        case "age":
            return text.isdecimal() and int(text) <= 130
        case "sex":
            return text.upper() in SEXES
        case "nat_date":
            try:
                date.fromisoformat(text)
            except ValueError:
                return False
    return True


def _facts(row: Mapping[str, str]) -> PatientFacts:
    return PatientFacts(
        diagnosis=row["diagnosis"].lower() or None,
        clinical_type=row["clinical_type"] or None,
        age=min(int(row["age"]), AGE_CAP) if row["age"] else None,
        sex=row["sex"].upper() or None,
        nat_date=date.fromisoformat(row["nat_date"]) if row["nat_date"] else None,
    )
