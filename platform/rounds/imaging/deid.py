"""De-identification by allow-list: what the policy does not name is dropped, down into nested sequences.

In the spirit of DICOM PS3.15 Annex E: Basic Profile with Clean Descriptors, Retain Longitudinal Temporal Information
with Modified Dates, and parts of Retain Patient Characteristics (sex, age) and Retain Device Identity (maker, model,
software, kernel, exposure). Times of day, private tags, overlays, icons and comments do not stay.
docs/deidentification.md says what is done to what, and how well it scores.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path

from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from rounds.imaging.deid_pixels import without_excess, without_overlay_bits, without_stowaways
from rounds.imaging.deid_policy import (
    DEVICE_WORDS,
    EMPTIED,
    IDENTITY,
    METHOD_CODES,
    POLICY,
    POLICY_NAME,
    POLICY_VERSION,
    TERMS,
    VOCABULARY,
    Action,
)
from rounds.imaging.dicom import Unreadable, quietly, read_dataset
from rounds.imaging.dicom_bytes import Encoded, encode_file, text
from rounds.imaging.pseudonyms import date_shift, pseudonym, remap_uid, series_key, shift_date
from rounds.imaging.series import patient_identity

__all__ = [
    "POLICY_VERSION",
    "Deidentified",
    "deidentify",
    "deidentify_dataset",
    "pseudonym",
    "remap_uid",
    "series_key",
]

IMPLEMENTATION_UID = "2.25.164871527693204215904816172381906612873"
IMPLEMENTATION_NAME = "ROUNDS_1"
_MAX_DEPTH = 8
_UNDEFINED_LENGTH = 0xFFFFFFFF
_OVERLAY_BIT, _OVERLAY_DATA = 0x0102, 0x3000
_CLASS, _INSTANCE, _STUDY, _PIXELS = 0x00080016, 0x00080018, 0x0020000D, 0x7FE00010

_TEXT = re.compile(r"^[A-Za-z0-9 _.,:;/+*()#%\[\]&<>=^-]{0,64}$")
_CODE = re.compile(r"^[A-Z0-9 _]{0,32}$")
_NUMBER = re.compile(r"^[0-9 +\-.eE\\]*$")
_AGE = re.compile(r"^(\d{3})([DWMY])$")
_WORD = re.compile(r"[A-Za-z]+|\d+(?:\.\d+)?")
_RUN = re.compile(r"[A-Za-z0-9\x80-\xff]+(?:\.\d+)*")
_ALNUM = re.compile(r"[^\W_]+")
_NUMBERS = re.compile(r"\d(?:[^A-Za-z\\]*\d)*")
_ID_OR_DATE = re.compile(
    r"\d(?:[ /()+-]*\d){5,}|\b\d\d?\.\d\d?\.(?:19|20)\d\d\b|\b\d\d\.\d\d\.\d\d\b|\b\d{4}\.\d\d\.\d\d\b"
)
_SHORT_NUMBER = re.compile(r"^\d{1,3}(\.\d{1,3})?$")
_UNPRINTED = re.compile(r"[^A-Za-z0-9 _.,:;/+*()#%\[\]&<>=^\x80-\xff-]+")
_EDGES = " _,:;/^&<>=#%-"
_LONGEST = {"CS": 16, "SH": 16, "LO": 64}
_LONG_NUMBER = 6
_TELLING = 5
_BINARY_BYTES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4}
_MAX_TEXT = 1024
_MAX_NUMBERS = 64
_MOST_REMEMBERED = 10_000


_Identity = tuple[frozenset[str], tuple[str, ...]]
_IDENTITY_TAGS = tuple(tag for keyword in IDENTITY if (tag := tag_for_keyword(keyword)) is not None)
_MOST_IDENTITIES = 64
_identities: dict[tuple[object, ...], _Identity] = {}


@dataclass(frozen=True)
class Deidentified:
    """A de-identified file: its bytes and the identities that it carries now."""

    data: bytes = field(repr=False)
    patient: str
    study_uid: str
    series_uid: str
    instance_uid: str
    policy: str = POLICY_VERSION


@dataclass(frozen=True)
class _Patient:
    """What the elements of one file need to know: the key, the shift, and what no kept text may repeat.

    `treated` remembers what became of elements: nearly all are the same in every slice of a series.
    """

    key: bytes
    shift: timedelta
    words: frozenset[str]
    phrases: tuple[str, ...]
    little: bool
    treated: dict[tuple[object, ...], Encoded | None] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def telling(self) -> tuple[str, ...]:
        """Words so long that even a part of them, or a longer word with one in it, identifies."""
        return tuple(word for word in self.words if len(word) >= _TELLING)


def deidentify(path: Path, key: bytes, site: str) -> Deidentified:
    """De-identify one file; its pixels stay, compressed or not, and the result is reproducible.

    `key` is 32 bytes; with `site` and the PatientID it decides pseudonym and date shift. Raise NotDicom or
    Unreadable, also for a file without the UIDs or the pixel data that an image needs.
    """
    return deidentify_dataset(read_dataset(path), key, site)


def deidentify_dataset(source: FileDataset, key: bytes, site: str) -> Deidentified:
    """De-identify a file that was read but whose elements were not parsed yet, as `deidentify` does.

    What was parsed before is dropped, not kept: nobody can say any more what its bytes were. Raise Unreadable.
    """
    with quietly():
        try:
            return _deidentified(source, key, site)
        except (
            struct.error,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RuntimeError,
        ) as error:
            raise Unreadable("the file cannot be written again") from error


def _deidentified(source: FileDataset, key: bytes, site: str) -> Deidentified:
    elements = {number: one for tag, one in source.items() if (number := int(tag)) in POLICY}
    words, phrases = _identity_of(source)  # before any of them is parsed
    study, series = _text_of(source, "StudyInstanceUID"), _text_of(source, "SeriesInstanceUID")
    if not series or "PixelData" not in source:
        raise Unreadable("the file has no image or does not say of which series it is")
    instance = _text_of(source, "SOPInstanceUID") or _stand_in(source, series)
    who = patient_identity(_text_of(source, "PatientID"), study)
    alias = pseudonym(key, site, who)
    little = bool(source.original_encoding[1])
    patient = _patient(key, date_shift(key, site, who), words, phrases, little)
    signed = source.get("PixelRepresentation") == 1
    clean = _carried(elements, patient, signed, depth=0)
    clean[_PIXELS] = _pixels(source, clean[_PIXELS], little)
    clean[_STUDY] = text("UI", study_uid := remap_uid(key, study or f"study of {series}"))
    clean[_INSTANCE] = text("UI", instance_uid := remap_uid(key, instance))
    _complete(clean, alias)
    return Deidentified(_written(source, clean), alias, study_uid, remap_uid(key, series), instance_uid)


@lru_cache(maxsize=4)  # one for each series that is taken in at the moment
def _patient(
    key: bytes, shift: timedelta, words: frozenset[str], phrases: tuple[str, ...], little: bool
) -> _Patient:
    return _Patient(key, shift, words, phrases, little)


def _stand_in(source: FileDataset, series: str) -> str:
    """Name an instance without a UID by its series, number and position, so that copies of it agree."""
    return f"{series} {_text_of(source, 'InstanceNumber')} {_text_of(source, 'ImagePositionPatient')}"


_Element = DataElement | RawDataElement | None


def _carried(
    elements: Mapping[int, _Element], patient: _Patient, signed: bool, depth: int
) -> dict[int, Encoded]:
    """Apply the policy to the elements of a data set or of an item of a sequence."""
    clean: dict[int, Encoded] = {}
    for tag, element in elements.items():
        entry = POLICY.get(tag)
        if entry is None or element is None:
            continue
        action, vr = entry
        if action is Action.ITEMS:
            if depth < _MAX_DEPTH and (items := _items(element, patient, signed, depth)):
                clean[tag] = Encoded("SQ", items=items)
        elif not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
            continue
        elif action is Action.PIXELS:
            if depth == 0:
                clean[tag] = _as_read(element)
        elif (treated := _remembered(tag, action, vr, element, patient, signed)) is not None:
            clean[tag] = treated
    return clean


def _remembered(
    tag: int, action: Action, vr: str, element: RawDataElement, patient: _Patient, signed: bool
) -> Encoded | None:
    """Treat an element's value, unless the same was treated for this patient before."""
    given = (tag, element.VR, element.value, signed)
    known = patient.treated
    if given not in known:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        written = _vr(element, vr, signed, patient)
        value = _treated(action, written, element.value or b"", patient)
        known[given] = Encoded(written, value) if value else None
    return known[given]


def _vr(element: RawDataElement, vr: str, signed: bool, patient: _Patient) -> str:
    """Return the VR to write an element with; nothing if the file claims one that the dictionary forbids.

    A known element that is called UN has the dictionary's VR, its bytes in little-endian order (PS3.5 6.2.2).
    """
    either = ("SS", "US") if signed else ("US", "SS")
    allowed = either if vr == "US or SS" else (vr,)
    if element.VR is None or (element.VR == "UN" and (patient.little or vr not in _BINARY_BYTES)):
        return allowed[0]
    return element.VR if element.VR in allowed else ""


def _pixels(source: FileDataset, given: Encoded, little: bool) -> Encoded:
    """Return the pixel data without what does not belong to the image; the decoded pixels stay the same."""
    if given.encapsulated:
        return replace(given, value=without_stowaways(given.value))
    bits = source.BitsAllocated
    count = (
        source.Rows
        * source.Columns
        * source.get("SamplesPerPixel", 1)
        * int(source.get("NumberOfFrames") or 1)
    )
    value = without_excess(given.value, (count * bits + 7) // 8)
    planes = frozenset(
        int(source[tag].value)
        for group in range(0x6000, 0x6020, 2)
        if (tag := group << 16 | _OVERLAY_BIT) in source and (group << 16 | _OVERLAY_DATA) not in source
    )
    if planes and bits == 16 and little:
        value = without_overlay_bits(value, planes, source.HighBit, source.get("PixelRepresentation") == 1)
    return replace(given, value=value)


def _as_read(element: RawDataElement) -> Encoded:
    value = bytes(element.value or b"")
    encapsulated = element.length == _UNDEFINED_LENGTH
    return Encoded("OB" if encapsulated else element.VR or "OW", value, encapsulated=encapsulated)


def _items(
    element: DataElement | RawDataElement, patient: _Patient, signed: bool, depth: int
) -> tuple[dict[int, Encoded], ...]:
    """Apply the policy to each item of a sequence and leave out those of which nothing stays."""
    parsed = convert_raw_data_element(element).value if isinstance(element, RawDataElement) else element.value
    items: list[dict[int, Encoded]] = []
    for item in parsed if isinstance(parsed, Sequence) else ():
        elements = {int(tag): item.get_item(tag) for tag in item.keys()}  # noqa: SIM118
        if clean := _carried(elements, patient, signed, depth + 1):
            items.append(clean)
    return tuple(items)


def _treated(action: Action, vr: str, value: bytes, patient: _Patient) -> bytes:
    """Return the value as it may stay, of even length, or nothing."""
    if not vr:
        return b""
    size = _BINARY_BYTES.get(vr)
    if size is not None:
        return value if len(value) % size == 0 and len(value) <= _MAX_NUMBERS * size else b""
    given = value.decode("latin-1").rstrip("\0 ").lstrip()
    if not given or len(given) > _MAX_TEXT or "\x1b" in given:
        return b""
    return text(vr, _treated_text(action, vr, given, patient)).value


def _treated_text(action: Action, vr: str, given: str, patient: _Patient) -> str:
    if action is Action.CLEAN or (action is Action.KEEP and vr not in {"DS", "IS", "CS"}):
        return _words_kept(action, vr, given, patient)
    if not given.isascii():
        return ""
    match action:
        case Action.UID:
            uids = [part.strip("\0 ") for part in given.split("\\")]
            return "\\".join(remap_uid(patient.key, uid) for uid in uids if uid)
        case Action.CLASS:
            return given if given in UID_dictionary else ""
        case Action.DATE:
            return shift_date(given[:8] if vr == "DT" else given, patient.shift)
        case Action.TERM:
            return "\\".join(part for one in given.split("\\") if (part := one.strip()) in TERMS)
        case Action.AGE:
            return _capped_age(given)
        case _:
            return _kept(vr, given, patient)


def _kept(vr: str, given: str, patient: _Patient) -> str:
    """Return a code or decimal value, without those of its parts that are not well-formed or repeat the identity."""
    if vr in {"DS", "IS"}:
        return given if _NUMBER.match(given) and given.count("\\") < _MAX_NUMBERS else ""
    parts = [part.strip() for part in given.split("\\")]
    good = [
        part
        for part in parts
        if _CODE.match(part) and not _has_long_number(part) and not _repeats_identity(part, patient)
    ]
    return "\\".join(good)


def _words_kept(action: Action, vr: str, given: str, patient: _Patient) -> str:
    """Return a text without the words that may tell who: unknown ones from descriptions, the identity's from all."""
    parts = [_clean_part(action, part.strip(), patient) for part in given.split("\\")]
    return "\\".join(part[: _LONGEST.get(vr, 64)] for part in parts if part)


def _clean_part(action: Action, given: str, patient: _Patient) -> str:
    if not given:
        return ""
    shortened = given
    for phrase in patient.phrases:
        if len(phrase) > 3 and phrase in shortened.casefold():
            shortened = re.sub(re.escape(phrase), " ", shortened, flags=re.IGNORECASE)
    shortened = _UNPRINTED.sub(" ", shortened)
    if action is Action.KEEP:
        shortened = _ID_OR_DATE.sub(" ", shortened)
    else:
        shortened = _NUMBERS.sub(
            lambda found: " " if _digits(found[0]) >= _LONG_NUMBER else found[0], shortened
        )
    shortened = _RUN.sub(lambda found: found[0] if _may_stay(action, found[0], patient) else "", shortened)
    if shortened != given:
        shortened = " ".join(word for word in shortened.split() if _ALNUM.search(word)).strip(_EDGES)
    return shortened if _TEXT.match(shortened) and not _repeats_identity(shortened, patient) else ""


def _may_stay(action: Action, run: str, patient: _Patient) -> bool:
    if not run.isascii() or not patient.words.isdisjoint(_ALNUM.findall(run.casefold())):
        return False
    if action is Action.KEEP:
        folded = run.casefold()
        return len(folded) < _TELLING or not any(folded in one or one in folded for one in patient.telling)
    return all(word.lower() in VOCABULARY or _SHORT_NUMBER.match(word) for word in _WORD.findall(run))


def _has_long_number(given: str) -> bool:
    return any(_digits(found) >= _LONG_NUMBER for found in _NUMBERS.findall(given))


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


def _capped_age(given: str) -> str:
    found = _AGE.match(given)
    if found is None:
        return ""
    return "090Y" if found[2] == "Y" and int(found[1]) > 89 else given


def _repeats_identity(given: str, patient: _Patient) -> bool:
    folded = given.casefold()
    if any(phrase in folded for phrase in patient.phrases):
        return True
    return not patient.words.isdisjoint(_ALNUM.findall(folded))


def _identity_of(source: FileDataset) -> _Identity:
    """Return the words and phrases that identify, from memory where the same elements were seen before."""
    given = [source.get_item(tag) for tag in _IDENTITY_TAGS if tag in source]
    if not all(isinstance(one, RawDataElement) for one in given):
        return _collected(source)
    marks = (str(source.original_character_set), *((one.tag, one.VR, one.value) for one in given))
    if marks not in _identities:
        if len(_identities) >= _MOST_IDENTITIES:
            _identities.clear()
        _identities[marks] = _collected(source)
    return _identities[marks]


def _collected(source: FileDataset) -> _Identity:
    """Collect the words (3 letters or 4 digits) and phrases (4 or more) that identify, in lower case."""
    words: set[str] = set()
    phrases: set[str] = set()
    for keyword in IDENTITY:
        for given in _texts_of(source, keyword):
            found = _ALNUM.findall(given)
            words.update(word for word in found if len(word) >= (4 if word.isdigit() else 3))
            if len(given) >= 4 and given not in DEVICE_WORDS:
                phrases.add(given)
    return frozenset(words - VOCABULARY - DEVICE_WORDS), tuple(phrases)


def _texts_of(source: FileDataset, keyword: str) -> list[str]:
    try:
        value = source.get(keyword)
    except Exception:
        return []
    if value is None:
        return []
    parts = value if isinstance(value, list | tuple | MultiValue) else [value]
    return [str(part).strip("\0 ").casefold() for part in parts if str(part).strip("\0 ")]


def _text_of(source: FileDataset, keyword: str) -> str:
    """Return a text as the headers of series read it, several values joined."""
    value = source.get(keyword)
    if value is None:
        return ""
    parts = list(value) if isinstance(value, list | tuple | MultiValue) else [value]
    return "\\".join(str(part).strip(" \0") for part in parts)


def _complete(clean: dict[int, Encoded], alias: str) -> None:
    """Write the pseudonym, what a CT image must have, and that and how the file was de-identified."""
    for tag, vr in EMPTIED.items():
        clean.setdefault(tag, Encoded(vr))
    clean[0x00100010] = text("PN", alias)
    clean[0x00100020] = text("LO", alias)
    clean[0x00120062] = text("CS", "YES")
    clean[0x00120063] = text("LO", POLICY_NAME)
    clean[0x00120064] = Encoded("SQ", items=_METHODS)
    clean[0x00280303] = text("CS", "MODIFIED")


_METHODS = tuple(
    {0x00080100: text("SH", code), 0x00080102: text("SH", "DCM"), 0x00080104: text("LO", meaning)}
    for code, meaning in METHOD_CODES
)


def _written(source: FileDataset, clean: dict[int, Encoded]) -> bytes:
    """Write the data set in the source's transfer syntax, under file meta information of our own."""
    implicit, little = source.original_encoding
    if implicit is None or little is None or _CLASS not in clean:
        raise Unreadable("the file does not say what it is")
    syntax = getattr(source, "file_meta", FileMetaDataset()).get("TransferSyntaxUID")
    if syntax is None:
        syntax = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
    if syntax not in AllTransferSyntaxes:
        raise Unreadable("the transfer syntax is unknown")
    meta = {
        0x00020001: Encoded("OB", b"\0\1"),
        0x00020002: clean[_CLASS],
        0x00020003: clean[_INSTANCE],
        0x00020010: text("UI", str(syntax)),
        0x00020012: text("UI", IMPLEMENTATION_UID),
        0x00020013: text("SH", IMPLEMENTATION_NAME),
    }
    deflated = syntax == DeflatedExplicitVRLittleEndian
    return encode_file(clean, meta, implicit=bool(implicit), little=bool(little), deflated=deflated)
