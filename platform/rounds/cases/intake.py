"""Taking one series in: gate, de-identify, grids, pictures, objects, and last of all its row."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rounds.cases import choosing, holding, keys, store, vault
from rounds.cases.cleaning import Cleaning
from rounds.cases.model import NewCase, Outcome, Refused
from rounds.cases.quarantine import let_in
from rounds.cases.waivers import by_code, delivered, facts, more_than_before, releasable, waive, waived
from rounds.db import Connection
from rounds.imaging.burned_in import find_text, hints_at_text
from rounds.imaging.chest import chest_fault, find_lungs, range_fault
from rounds.imaging.choice import kernel_of
from rounds.imaging.deid import POLICY_VERSION
from rounds.imaging.dicom import NotDicom, Unreadable
from rounds.imaging.gate import Stack, examine
from rounds.imaging.nifti import encode_volume
from rounds.imaging.pseudonyms import pseudonym
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.render import Window, slice_png
from rounds.imaging.resample import to_reading_grid
from rounds.imaging.series import Series, refusal_of
from rounds.imaging.volume import Volume, VolumeRefused
from rounds.objects import ObjectStore

ACTOR = "flow:ingest"


@dataclass(frozen=True)
class Intake:
    """Where scans come from and go to: `key` pseudonymises, `window` (HU) is how readers see the slices.

    `home` is the state folder, and `named` tells what an unpacked file is called where it came from. Patients and
    series that are known under one of the `retired` keys stay known under it.
    """

    conn: Connection
    objects: ObjectStore
    key: bytes
    site: str
    window: Window
    schemes: tuple[str, ...]
    home: Path
    named: Callable[[Path], str] = str
    retired: tuple[bytes, ...] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        return self.key, *self.retired


@dataclass(frozen=True)
class Release:
    """Over which reasons a series is let in, which cases of it are replaced, and how many slices it has now."""

    over: tuple[str, ...]
    replaced: tuple[int, ...]
    delivered: int


def take_in(intake: Intake, series: Series) -> Outcome:
    """Make a case of a series, or quarantine it with reasons; doing it again changes nothing.

    Bytes go to the object store first and the row is written last, in one transaction, so that a process killed
    anywhere in between leaves nothing that a second run would double. Of several volumes in one series the first has
    the series' key and is written last, so that a known key means that all of them are in. Reasons over which a person
    released the series are set aside.
    """
    skey = _key_of(intake, series)
    standing = store.known(intake.conn, skey)
    released = holding.released_over(intake.conn, skey)
    verdict = examine(*waive(series, released))
    replaced: tuple[int, ...] = ()
    if standing is not None:
        more = more_than_before(series, verdict, standing.slices)
        if more is None:
            return Outcome(unchanged=1)
        if released.get(more.code, 0) < more.count:
            return _outcome([], [set_aside(intake, skey, more, series)])
        replaced = standing.cases
    release = Release(tuple(sorted(released)), replaced, delivered(series, verdict))
    refused = list(verdict.refusals)
    base = f"{skey}:after-{replaced[0]}" if replaced else skey
    accepted = []
    for index, stack in reversed(list(enumerate(verdict.stacks))):
        key, how = (f"{base}:{index}", replace(release, replaced=())) if index else (base, release)
        try:
            case = _accept(intake, key, series, stack, how)
        except VolumeRefused as error:
            refused.append(error.refusal)
        except (NotDicom, Unreadable) as error:
            refused.append(Refusal(Reason.UNDECODABLE, str(error), series.files))
        else:
            accepted += [case] if case is not None else []
    whole = None if accepted else series
    return _outcome(accepted, [set_aside(intake, skey, refusal, whole) for refusal in by_code(refused)])


def _outcome(accepted: list[dict[str, Any]], entries: list[dict[str, Any] | None]) -> Outcome:
    held = tuple(entry for entry in entries if entry is not None)
    return Outcome(tuple(accepted), held, unchanged=int(not accepted and not held))


def set_aside(
    intake: Intake, skey: str, refusal: Refusal, whole: Series | None = None
) -> dict[str, Any] | None:
    """Quarantine refused files and keep what a release of the `whole` series would need.

    What is returned names the files, for the operator's own eyes; None if a person has dealt with them before.
    """
    slices = whole.slices if whole else ()
    refused_places = frozenset(refusal.places)
    known = [one for one in slices if one.place in refused_places]
    refused = Refused(
        skey,
        intake.site,
        refusal.code,
        refusal.detail,
        refusal.count,
        facts(known or slices),
    )
    with intake.conn.transaction():
        entry = holding.hold(intake.conn, refused, ACTOR)
    if entry.state != "held":
        return None
    needed = whole.files if whole and releasable(refusal.code) else ()
    vault.keep(intake.home, entry.id, refusal.files, needed, intake.named)
    return {
        "quarantine": entry.id,
        "reason": str(refusal.code),
        "detail": refusal.sentence,
        "files": [intake.named(path) for path in refusal.files],
    }


def key_of_files(intake: Intake, files: Iterable[Path]) -> str:
    """Return the keyed identity of files that do not say which series they are: their content."""
    digests = sorted(_file_sha256(path) for path in files)
    return keys.of_series(intake.conn, intake.keys, "files " + " ".join(digests))


def _key_of(intake: Intake, series: Series) -> str:
    if not series.uid:
        return key_of_files(intake, series.files)
    return keys.of_series(intake.conn, intake.keys, series.uid)


def _accept(
    intake: Intake, skey: str, series: Series, stack: Stack, release: Release
) -> dict[str, Any] | None:
    _refuse_if(range_fault(stack.grid), stack, release)
    patient_key = keys.of_patient(intake.conn, intake.keys, intake.site, series.patient)
    with Cleaning(patient_key, intake.site, intake.home) as cleaning:
        scanned = cleaning.volume(stack)
        reading = to_reading_grid(scanned)
        lungs = find_lungs(reading)
        _refuse_if(chest_fault(lungs), stack, release)
        _refuse_text(scanned, series, stack, release)
        del scanned  # a volume's worth of memory
        if (telling := cleaning.refusal()) is not None:
            raise VolumeRefused(telling)
        dicom = cleaning.store(intake.objects)
    manufacturer, scanner = cleaning.device
    case = NewCase(
        series_key=skey,
        patient=pseudonym(patient_key, intake.site, series.patient),
        site=intake.site,
        manufacturer=manufacturer,
        scanner=scanner,
        source_slices=len(stack.slices),
        source_spacing=stack.grid.spacing,
        spacing=reading.spacing,
        shape=reading.shape,
        affine=tuple(tuple(row) for row in reading.affine.tolist()),
        thickness=stack.slices[0].thickness,
        lung_hu=lungs.median_hu if lungs is not None else None,
        volume=intake.objects.put(encode_volume(reading), ".nii.gz"),
        slices=tuple(intake.objects.put(slice_png(plane, intake.window), ".png") for plane in reading.array),
        dicom=dicom,
        policy_version=POLICY_VERSION,
        study=cleaning.study,
        sharpness=kernel_of(stack.slices[0].kernel).name.lower(),
    )
    case_id = _write_row(intake, case, patient_key, release, stack.corrections)
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


def _write_row(
    intake: Intake, case: NewCase, patient_key: bytes, release: Release, corrections: Sequence[str]
) -> int | None:
    """Make the case known, all at once; return its number, or None if another process was first."""
    with intake.conn.transaction():
        choosing.hold(intake.conn, case.patient, case.study or "")
        case_id = store.accept(intake.conn, case, intake.schemes, ACTOR, corrections)
        if case_id is not None:
            store.remember_release(intake.conn, case_id, release.over, release.replaced, release.delivered)
            keys.remember(intake.conn, case_id, patient_key)
            let_in(intake.conn, case_id, release.over, release.replaced, ACTOR)
            choosing.settle(intake.conn, case_id, ACTOR)
    return case_id


def _refuse_text(scanned: Volume, series: Series, stack: Stack, release: Release) -> None:
    """Raise VolumeRefused if text is burned into the pixels and nobody has looked at it yet.

    What the headers hint at is read from the series as it came: a release shows the gate cleaner ones.
    """
    if waived(Reason.BURNED_IN_TEXT, release.over):
        return
    hinting = {one.path for one in series.slices if hints_at_text(one)}
    hinted = [index for index, one in enumerate(stack.slices) if one.path in hinting]
    if found := find_text(scanned.array, hinted):
        where = f"slice {found.slice + 1} of {len(stack.slices)} from below, {found.region}"
        raise VolumeRefused(Refusal(Reason.BURNED_IN_TEXT, where, (stack.slices[found.slice].path,)))


def _refuse_if(fault: tuple[Reason, str] | None, stack: Stack, release: Release) -> None:
    if fault is not None and not waived(fault[0], release.over):
        code, detail = fault
        raise VolumeRefused(refusal_of(code, detail, stack.slices))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
