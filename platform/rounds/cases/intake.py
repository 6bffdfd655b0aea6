"""Taking one series in: gate, de-identify, grids, pictures, objects, and last of all its row."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from rounds.cases import store
from rounds.cases.archive import pack
from rounds.cases.model import NewCase, Outcome
from rounds.db import Connection
from rounds.imaging.chest import chest_fault, find_lungs, range_fault
from rounds.imaging.deid import POLICY_VERSION, Deidentified, deidentify
from rounds.imaging.dicom import NotDicom, Unreadable
from rounds.imaging.gate import Stack, examine
from rounds.imaging.nifti import encode_volume
from rounds.imaging.pseudonyms import pseudonym, series_key
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.render import Window, slice_png
from rounds.imaging.resample import to_reading_grid
from rounds.imaging.residue import Residue
from rounds.imaging.series import Series
from rounds.imaging.volume import VolumeRefused, load_volume
from rounds.objects import ObjectStore

ACTOR = "flow:ingest"


@dataclass(frozen=True)
class Intake:
    """Where scans come from and go to: `key` pseudonymises, `window` (HU) is how readers see the slices."""

    conn: Connection
    objects: ObjectStore
    key: bytes
    site: str
    window: Window
    schemes: tuple[str, ...]


def take_in(intake: Intake, series: Series) -> Outcome:
    """Make a case of a series, or quarantine it with reasons; doing it again changes nothing.

    Bytes go to the object store first and the row is written last, in one transaction, so that a process killed
    anywhere in between leaves nothing that a second run would double. Of several volumes in one series the first has
    the series' key and is written last, so that a known key means that all of them are in.
    """
    skey = _key_of(intake, series)
    if store.known(intake.conn, skey) is not None:
        return Outcome(unchanged=1)
    verdict = examine(series)
    held = [set_aside(intake, skey, refusal) for refusal in verdict.refusals]
    accepted = []
    for index, stack in reversed(list(enumerate(verdict.stacks))):
        key = f"{skey}:{index}" if index else skey
        try:
            case = _accept(intake, key, series, stack)
        except VolumeRefused as error:
            held.append(set_aside(intake, key, error.refusal))
        except (NotDicom, Unreadable) as error:
            held.append(set_aside(intake, key, Refusal(Reason.UNDECODABLE, str(error), series.files)))
        else:
            accepted += [case] if case is not None else []
    return Outcome(tuple(accepted), tuple(held), unchanged=int(not accepted and not held))


def set_aside(intake: Intake, skey: str, refusal: Refusal) -> dict[str, Any]:
    """Quarantine refused files; what is returned names them, for the operator's own eyes."""
    with intake.conn.transaction():
        number = store.quarantine(
            intake.conn,
            f"{skey}:{refusal.code}",
            intake.site,
            refusal.code,
            refusal.detail,
            len(refusal.files),
            ACTOR,
        )
    return {
        "quarantine": number,
        "reason": str(refusal.code),
        "detail": refusal.sentence,
        "files": [str(path) for path in refusal.files],
    }


def key_of_files(key: bytes, files: Iterable[Path]) -> str:
    """Return the keyed identity of files that do not say which series they are: their content."""
    digests = sorted(_file_sha256(path) for path in files)
    return series_key(key, "files " + " ".join(digests))


def _key_of(intake: Intake, series: Series) -> str:
    return series_key(intake.key, series.uid) if series.uid else key_of_files(intake.key, series.files)


def _accept(intake: Intake, skey: str, series: Series, stack: Stack) -> dict[str, Any] | None:
    scanned = load_volume(stack)
    _refuse_if(range_fault(scanned), stack)
    reading = to_reading_grid(scanned)
    lungs = find_lungs(reading)
    _refuse_if(chest_fault(lungs), stack)
    clean = [deidentify(one.path, intake.key, intake.site) for one in stack.slices]
    _refuse_what_is_left(stack, clean)
    manufacturer, scanner = _device(clean[0].data)
    case = NewCase(
        series_key=skey,
        patient=pseudonym(intake.key, intake.site, series.patient),
        site=intake.site,
        manufacturer=manufacturer,
        scanner=scanner,
        source_slices=len(stack.slices),
        source_spacing=scanned.spacing,
        spacing=reading.spacing,
        shape=reading.shape,
        affine=tuple(tuple(row) for row in reading.affine.tolist()),
        thickness=stack.slices[0].thickness,
        lung_hu=lungs.median_hu if lungs is not None else None,
        volume=intake.objects.put(encode_volume(reading), ".nii.gz"),
        slices=tuple(intake.objects.put(slice_png(plane, intake.window), ".png") for plane in reading.array),
        dicom=intake.objects.put(pack([one.data for one in clean]), ".zip"),
        policy_version=POLICY_VERSION,
    )
    with intake.conn.transaction():
        case_id = store.accept(intake.conn, case, intake.schemes, ACTOR, stack.corrections)
    if case_id is None:
        return None
    return {
        "case": case_id,
        "patient": case.patient,
        "source_slices": case.source_slices,
        "spacing_mm": list(case.spacing),
        "manufacturer": case.manufacturer,
        "lung_hu": case.lung_hu,
        "corrections": list(stack.corrections),
    }


def _refuse_what_is_left(stack: Stack, clean: list[Deidentified]) -> None:
    """Raise VolumeRefused if the second check finds something of a header in the de-identified files."""
    residue = Residue()
    places: set[str] = set()
    files: list[Path] = []
    for one, done in zip(stack.slices, clean, strict=True):
        if found := residue.find(one.path, done.data):
            places.update(f"{finding.kind} in {finding.place}" for finding in found)
            files.append(one.path)
    if files:
        detail = f"{', '.join(sorted(places)[:5])}; files: {len(files)}"
        raise VolumeRefused(Refusal(Reason.RESIDUAL_IDENTITY, detail, tuple(files)))


def _refuse_if(fault: tuple[Reason, str] | None, stack: Stack) -> None:
    if fault is not None:
        code, detail = fault
        raise VolumeRefused(Refusal(code, detail, tuple(one.path for one in stack.slices)))


def _device(clean: bytes) -> tuple[str, str]:
    """Read the device from the de-identified file, so that nothing else can have slipped into its name."""
    header = pydicom.dcmread(io.BytesIO(clean), specific_tags=["Manufacturer", "ManufacturerModelName"])
    return str(header.get("Manufacturer") or "unknown"), str(header.get("ManufacturerModelName") or "unknown")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
