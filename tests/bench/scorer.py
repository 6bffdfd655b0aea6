"""What of the required actions a de-identified file passed: one scorer for every contender, knowing none of them."""

import io
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from tests.bench.identities import Check, Kind, Path


def _words(text: str) -> list[str]:
    return text.split()


USEFUL = _words(
    """ImageType Modality Manufacturer PatientPosition ScanOptions SliceThickness KVP
    DataCollectionDiameter ReconstructionDiameter DistanceSourceToDetector DistanceSourceToPatient
    GantryDetectorTilt TableHeight RotationDirection ExposureTime XRayTubeCurrent Exposure ExposureInuAs
    GeneratorPower FocalSpots RevolutionTime SingleCollimationWidth TotalCollimationWidth
    TableSpeed TableFeedPerRotation SpiralPitchFactor ExposureModulationType EstimatedDoseSaving CTDIvol
    SpacingBetweenSlices AcquisitionNumber InstanceNumber SeriesNumber ImagePositionPatient ImageOrientationPatient
    SliceLocation SamplesPerPixel PhotometricInterpretation Rows Columns PixelSpacing BitsAllocated BitsStored
    HighBit PixelRepresentation PixelPaddingValue WindowCenter WindowWidth RescaleIntercept RescaleSlope RescaleType
    LossyImageCompression LossyImageCompressionRatio NumberOfFrames SharedFunctionalGroupsSequence
    PerFrameFunctionalGroupsSequence"""
)
"""Of the CT Image IOD, what geometry, grey values and acquisition need and PS3.15 table E.1-1 does not take away."""

NOT_NULL = _words(
    """PatientID PatientName SOPInstanceUID SOPClassUID StudyInstanceUID SeriesInstanceUID Modality
    PatientIdentityRemoved DeidentificationMethod"""
)
_READABLE = 0.2
"""Of the ink of a text, the share that must be gone less for it to count as hidden."""
_SEQUENCES = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}


@dataclass
class Planted:
    """One file before and after: what was required of it, and what no byte of it may hold.

    `ink` (y, x) is where text was burned in; of such a file, and of the same one without, only the pixels are scored.
    """

    patient: str
    original: bytes
    checks: list[Check]
    secrets: tuple[bytes, ...]
    result: bytes | None = None
    ink: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def of_pixels(self) -> bool:
        return {check.kind for check in self.checks} <= {Kind.PIXELS_HIDDEN, Kind.PIXELS_RETAINED}


@dataclass
class Score:
    """Passed and required actions by type, and the places that failed (names of elements, never values)."""

    passed: Counter[Kind] = field(default_factory=Counter)
    required: Counter[Kind] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, kind: Kind, good: bool, place: object) -> None:
        self.required[kind] += 1
        self.passed[kind] += good
        if not good:
            self.failed[f"{kind}: {place}"] += 1

    @property
    def share(self) -> float:
        return sum(self.passed.values()) / max(1, sum(self.required.values()))


def score(files: Iterable[Planted]) -> Score:
    """Score the files of all patients; a file that was not written fails everything that was required of it."""
    total = Score()
    patients: dict[str, list[tuple[Planted, Dataset, Dataset | None]]] = {}
    for one in files:
        before: Dataset = pydicom.dcmread(io.BytesIO(one.original))
        if one.of_pixels:
            _score_pixels(total, one, before, _parsed(one.result))
            continue
        patients.setdefault(one.patient, []).append((one, before, _parsed(one.result)))
    names: Counter[str] = Counter()
    for group in patients.values():
        for one, before, after in group:
            _score_file(total, one, before, after)
        _score_together(total, group)
        names.update({str(after.get("PatientID")) for _, _, after in group if after is not None})
    for name, count in names.items():
        total.add(Kind.PATID_CONSISTENT, count == 1 and bool(name), "two patients")
    return total


def _parsed(data: bytes | None) -> Dataset | None:
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True) if data else None
    except Exception:
        return None


def _score_file(total: Score, one: Planted, before: Dataset, after: Dataset | None) -> None:
    for check in one.checks:
        if check.kind is Kind.TEXT_REMOVED:
            total.add(check.kind, after is not None and not _holds_any(after, check), check.path)
        elif check.kind is Kind.TEXT_RETAINED:
            text = _text(after, check.path)
            total.add(check.kind, all(word in text for word in check.words), check.path)
    for keyword in NOT_NULL:
        total.add(Kind.TEXT_NOTNULL, bool(_text(after, (keyword,))), keyword)
    for keyword in USEFUL:
        if before.get(keyword) not in (None, ""):
            total.add(Kind.TAG_RETAINED, _same(before, after, keyword), keyword)
    searched = _searched(one.result or b"")
    for secret in one.secrets:
        good = one.result is not None and secret not in searched
        total.add(Kind.TEXT_REMOVED, good, "anywhere in the bytes")
    total.add(Kind.PIXELS_RETAINED, after is not None and _same_pixels(before, after), "PixelData")


def _score_pixels(total: Score, one: Planted, before: Dataset, after: Dataset | None) -> None:
    """Require that burned-in text does not come out, painted over or its file held back, and that all else does."""
    if one.ink is None:
        total.add(
            Kind.PIXELS_RETAINED, after is not None and _same_pixels(before, after), "a slice without text"
        )
        return
    try:
        shown = after is not None and float((pixel_array(before) == pixel_array(after))[one.ink].mean())
    except Exception:
        shown = 0.0
    total.add(Kind.PIXELS_HIDDEN, shown < _READABLE, one.patient)


def _score_together(total: Score, group: list[tuple[Planted, Dataset, Dataset | None]]) -> None:
    """Score what must agree over the files of one patient: pseudonym, date shift, UIDs."""
    aliases = {str(after.get("PatientID") or "") for _, _, after in group if after is not None}
    uids: dict[str, set[str]] = {}
    shifts: Counter[int | None] = Counter()
    for one, before, after in group:
        for check in one.checks:
            if check.kind in (Kind.UID_CHANGED, Kind.UID_CONSISTENT):
                uids.setdefault(_text(before, check.path), set()).add(_text(after, check.path))
            elif check.kind is Kind.DATE_SHIFTED:
                shifts[_shift(before, after, check.path)] += 1
    usual = shifts.most_common(1)[0][0] if shifts else None
    for one, before, after in group:
        alias = _text(after, ("PatientID",))
        total.add(Kind.PATID_CONSISTENT, bool(alias) and aliases == {alias}, "PatientID")
        for check in one.checks:
            if not check.path:
                continue
            old, new = _text(before, check.path), _text(after, check.path)
            if check.kind is Kind.UID_CHANGED:
                total.add(check.kind, after is not None and old != new, check.path)
            elif check.kind is Kind.UID_CONSISTENT:
                others = uids[old] - {""}
                total.add(check.kind, bool(new) and others == {new}, check.path)
            elif check.kind is Kind.DATE_SHIFTED:
                shift = _shift(before, after, check.path)
                total.add(check.kind, bool(shift) and shift == usual, check.path)


def _at(data: Dataset | None, path: Path) -> object:
    """Return what stands at a path of keywords, tags and item numbers; None if nothing does."""
    here: object = data
    try:
        for step in path:
            if step == "file_meta":
                here = getattr(here, "file_meta", None)
            elif isinstance(here, Dataset):
                here = here[step].value
            elif isinstance(step, int) and here is not None:
                here = here[step]  # type: ignore[index]
            else:
                return None
    except Exception:
        return None
    return here


def _text(data: Dataset | None, path: Path) -> str:
    value = _at(data, path)
    if value is None:
        return ""
    if isinstance(value, str | bytes):
        return value.decode("latin-1") if isinstance(value, bytes) else value
    return "\\".join(map(str, value)) if isinstance(value, list | pydicom.multival.MultiValue) else str(value)


def _holds_any(after: Dataset, check: Check) -> bool:
    found = _text(after, check.path).casefold()
    return any(word.casefold() in found for word in check.words)


def _same(before: Dataset, after: Dataset | None, keyword: str) -> bool:
    if after is None or keyword not in after:
        return False
    if keyword in _SEQUENCES:
        return len(before[keyword].value) == len(after[keyword].value)
    return _parts(before, keyword) == _parts(after, keyword)


def _parts(data: Dataset, keyword: str) -> list[str]:
    """Return the values without the padding that PS3.5 calls insignificant."""
    return [part.strip() for part in _text(data, (keyword,)).split("\\")]


def _shift(before: Dataset, after: Dataset | None, path: Path) -> int | None:
    old, new = _text(before, path)[:8], _text(after, path)[:8]
    try:
        return (date.fromisoformat(new) - date.fromisoformat(old)).days
    except ValueError:
        return None


def _searched(result: bytes) -> bytes:
    """Return the bytes that secrets are looked for in: the file's, inflated where it is deflated."""
    if b"1.2.840.10008.1.2.1.99" not in result[:1024]:
        return result
    start = 144 + int.from_bytes(result[140:144], "little")
    return result[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(result[start:])


def _same_pixels(before: Dataset, after: Dataset) -> bool:
    if before.get("PixelData") == after.get("PixelData"):
        return "PixelData" in after
    try:
        return bool(np.array_equal(pixel_array(before), pixel_array(after)))
    except Exception:
        return False
