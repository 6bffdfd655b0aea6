"""Synthetic identities and where they are planted: every check says what must be true of the de-identified file."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
Path = tuple[str | int, ...]


class Kind(StrEnum):
    """The ten action types that the MIDI-B challenge scores."""

    TEXT_REMOVED = "text_removed"
    TEXT_RETAINED = "text_retained"
    TEXT_NOTNULL = "text_notnull"
    TAG_RETAINED = "tag_retained"
    DATE_SHIFTED = "date_shifted"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_RETAINED = "pixels_retained"
    PIXELS_HIDDEN = "pixels_hidden"


@dataclass(frozen=True)
class Check:
    """One required action at one place of one file; `words` are what must be gone, or what must remain."""

    kind: Kind
    path: Path
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """One invented patient with everything that a header may tell of them."""

    family: str
    given: str
    patient_id: str
    born: str
    studied: str
    phone: str
    street: str
    physician: str
    operator: str
    institution: str
    accession: str
    station: str
    serial: str

    @property
    def name(self) -> str:
        return f"{self.family}^{self.given}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may stand nowhere in a file, each long enough not to be there by chance."""
        return (
            *(self.family, self.given, self.patient_id, self.born, self.studied, self.phone, self.street),
            *(self.physician, self.operator, self.institution, self.accession, self.station, self.serial),
        )


def _words(text: str) -> list[str]:
    return text.split()


_FAMILIES = _words(
    "Quistorff Abernethyson Vandermolen Okonkwella Brzezicka Featherstonehaugh Lindqvistad Marchetwood"
)
_GIVEN = _words("Wilhelmina Thaddeusz Rosalindette Ignatiusz Evangelina Bartholomeo Xiomaretta Casimirio")
_DOCTORS = _words("Hargreavesby Pelletierre Nakamurowa Szymanskova Obermeierin Castellanoz")
_PLACES = _words("Sankt-Gallusheim Brookhollowdale Villanuevita Nordkappstad Eastmereford")


def identity(seed: int) -> Identity:
    """Invent a patient, the same for the same seed."""
    draw = random.Random(seed)
    day = date(2012, 1, 1) + timedelta(days=draw.randrange(3000))
    place = draw.choice(_PLACES)
    return Identity(
        family=_FAMILIES[seed % len(_FAMILIES)],
        given=_GIVEN[(seed // 3) % len(_GIVEN)],
        patient_id=f"MR{draw.randrange(10**7, 10**8)}-{draw.choice('KQXZ')}",
        born=f"19{draw.randrange(20, 30)}{draw.randrange(1, 13):02d}{draw.randrange(1, 29):02d}",
        studied=day.strftime("%Y%m%d"),
        phone=f"0{draw.randrange(200, 999)}-{draw.randrange(10**6, 10**7)}",
        street=f"{draw.randrange(11, 99)} {place}allee",
        physician=draw.choice(_DOCTORS),
        operator=draw.choice(_DOCTORS) + "ova",
        institution=f"{place} Infirmary",
        accession=f"ACN{draw.randrange(10**7, 10**8)}",
        station=f"SCN{draw.randrange(10**4, 10**5)}W",
        serial=f"SRL{draw.randrange(10**5, 10**6)}",
    )


Plant = Callable[[Dataset, Identity], list[Check]]


def plant(data: Dataset, who: Identity, slice_number: int) -> list[Check]:
    """Put an identity into every place of a header that a Plant below names; return what is required of the result."""
    checks: list[Check] = []
    for put in PLANTS:
        checks += put(data, who)
    checks += _uids(data, who, slice_number)
    checks += _dates(data, who, slice_number)
    return checks


def _gone(data: Dataset, values: dict[str, object], secrets: tuple[str, ...]) -> list[Check]:
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return [Check(Kind.TEXT_REMOVED, (keyword,), secrets) for keyword in values]


def _patient(data: Dataset, who: Identity) -> list[Check]:
    checks = _gone(
        data,
        {
            "PatientName": who.name,
            "PatientID": who.patient_id,
            "PatientBirthDate": who.born,
            "OtherPatientIDs": [who.patient_id, "B" + who.accession],
            "OtherPatientNames": who.name,
            "PatientBirthName": who.name,
            "PatientMotherBirthName": f"{who.family}^Mother",
            "PatientAddress": who.street,
            "PatientTelephoneNumbers": [who.phone],
            "IssuerOfPatientID": who.institution,
            "PatientComments": f"{who.given} lives at {who.street}, call {who.phone}",
            "AdditionalPatientHistory": f"Seen by Dr {who.physician}; MRN {who.patient_id}",
            "Occupation": f"Nurse at {who.institution}",
            "ResponsiblePerson": f"{who.family}^Guardian",
        },
        who.secrets,
    )
    data.PatientAge = "094Y"
    return [*checks, Check(Kind.TEXT_REMOVED, ("PatientAge",), ("094Y",)), Check(Kind.PATID_CONSISTENT, ())]


def _staff_and_place(data: Dataset, who: Identity) -> list[Check]:
    return _gone(
        data,
        {
            "AccessionNumber": who.accession,
            "StudyID": who.accession[-6:],
            "ReferringPhysicianName": f"{who.physician}^A",
            "PerformingPhysicianName": f"{who.physician}^B",
            "NameOfPhysiciansReadingStudy": f"{who.physician}^C",
            "PhysiciansOfRecord": f"{who.physician}^D",
            "OperatorsName": who.operator,
            "RequestingPhysician": who.physician,
            "RequestingService": f"Ward of {who.physician}",
            "InstitutionName": who.institution,
            "InstitutionAddress": f"{who.street}\r\n{who.phone}",
            "InstitutionalDepartmentName": f"{who.institution} CT",
            "StationName": who.station,
            "DeviceSerialNumber": who.serial,
            "ImageComments": f"{who.name} {who.patient_id} born {who.born}",
            "StudyComments": f"Phone {who.phone}",
            "RequestedProcedureDescription": f"CT for {who.family}",
            "PerformedProcedureStepDescription": f"{who.patient_id} thorax",
            "PerformedProcedureStepID": who.accession,
            "DerivationDescription": f"Made on {who.station} for {who.family}",
        },
        (*who.secrets, who.accession[-6:]),
    )


def _descriptions(data: Dataset, who: Identity) -> list[Check]:
    dotted = f"{who.studied[6:]}.{who.studied[4:6]}.{who.studied[:4]}"
    dashed = f"{who.studied[:4]}-{who.studied[4:6]}-{who.studied[6:]}"
    data.StudyDescription = f"CT CHEST ROUTINE {who.family.upper()} {dotted}"
    data.SeriesDescription = f"Lung 1.0 {who.patient_id} ID{who.patient_id[2:10]} thin"
    data.ProtocolName = f"Thorax_LowDose {dashed} tel {who.phone}"
    gone = (*who.secrets, dotted, dashed, who.patient_id[2:10])
    checks = [
        Check(Kind.TEXT_REMOVED, (k,), gone)
        for k in ("StudyDescription", "SeriesDescription", "ProtocolName")
    ]
    checks += [
        Check(Kind.TEXT_RETAINED, ("StudyDescription",), ("CT", "CHEST", "ROUTINE")),
        Check(Kind.TEXT_RETAINED, ("SeriesDescription",), ("Lung", "1.0", "thin")),
        Check(Kind.TEXT_RETAINED, ("ProtocolName",), ("Thorax", "LowDose")),
    ]
    return checks


def _device(data: Dataset, who: Identity) -> list[Check]:
    """Names in fields of the device, which themselves are to be kept."""
    model = str(data.get("ManufacturerModelName") or "Scanner X")
    version = str(data.get("SoftwareVersions") or "V1A")
    data.ManufacturerModelName = f"{model[:30]} {who.family}"
    data.SoftwareVersions = [version[:30], f"installed by {who.physician}"]
    kernel = str(data.get("ConvolutionKernel") or "B30f").split("\\")[0][:8]
    data.ConvolutionKernel = f"{kernel} {who.station}"
    data.RescaleType = "HU"
    data.BodyPartExamined = who.family.upper()[:16]
    data.FilterType = who.patient_id
    return [
        *(Check(Kind.TEXT_REMOVED, (k,), who.secrets) for k in ("ManufacturerModelName", "SoftwareVersions")),
        Check(Kind.TEXT_REMOVED, ("FilterType",), who.secrets),
        Check(Kind.TEXT_REMOVED, ("ConvolutionKernel",), who.secrets),
        Check(Kind.TEXT_REMOVED, ("BodyPartExamined",), (who.family[:16],)),
        Check(Kind.TEXT_RETAINED, ("ManufacturerModelName",), (model[:30].strip(),)),
    ]


def _private(data: Dataset, who: Identity) -> list[Check]:
    inner = Dataset()
    inner.PatientName = who.name
    inner.add_new(0x00990010, "LO", "ACME INNER")
    inner.add_new(0x00991001, "LT", who.street)
    data.add_new(0x00990010, "LO", f"ACME {who.institution}")
    data.add_new(0x00991001, "PN", who.name)
    data.add_new(0x00991002, "LO", who.patient_id)
    data.add_new(0x00991003, "DA", who.born)
    data.add_new(0x00991004, "SQ", Sequence([inner]))
    data.add_new(0x00991005, "UN", f"{who.family} {who.phone}".encode())
    data.add_new(0x00991006, "OB", f"xx{who.patient_id}xx".encode())
    return [Check(Kind.TEXT_REMOVED, (0x00991000 + n,), who.secrets) for n in range(1, 7)]


def _nested(data: Dataset, who: Identity) -> list[Check]:
    request, code, deep = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X1", "99LOCAL", f"Scan of {who.family}"
    request.RequestedProcedureID = who.accession
    request.ReasonForTheRequestedProcedure = f"{who.given} coughs, {who.phone}"
    request.ScheduledProtocolCodeSequence = Sequence([code])
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = who.patient_id, "TEXT"
    data.RequestAttributesSequence = Sequence([request])
    data.OtherPatientIDsSequence = Sequence([other])
    deep.PatientID, deep.PatientName = who.patient_id, who.name
    modified = Dataset()
    modified.ModifiedAttributesSequence = Sequence([deep])
    modified.ModifyingSystem = who.station
    data.OriginalAttributesSequence = Sequence([modified])
    at: list[Path] = [
        ("RequestAttributesSequence", 0, "RequestedProcedureID"),
        ("RequestAttributesSequence", 0, "ReasonForTheRequestedProcedure"),
        ("RequestAttributesSequence", 0, "ScheduledProtocolCodeSequence", 0, "CodeMeaning"),
        ("OtherPatientIDsSequence", 0, "PatientID"),
        ("OriginalAttributesSequence", 0, "ModifyingSystem"),
        ("OriginalAttributesSequence", 0, "ModifiedAttributesSequence", 0, "PatientID"),
        ("OriginalAttributesSequence", 0, "ModifiedAttributesSequence", 0, "PatientName"),
    ]
    return [Check(Kind.TEXT_REMOVED, path, who.secrets) for path in at]


def _graphics(data: Dataset, who: Identity) -> list[Check]:
    note = Dataset()
    note.UnformattedTextValue = f"{who.name} {who.born}"
    graphic = Dataset()
    graphic.TextObjectSequence = Sequence([note])
    data.GraphicAnnotationSequence = Sequence([graphic])
    data.add_new(0x60020022, "LO", f"Overlay of {who.family}")
    data.add_new(0x60023000, "OW", f"{who.name} {who.patient_id}".encode().ljust(128, b"\0"))
    data.add_new(0xFFFCFFFC, "OB", f"{who.name}".encode().ljust(64, b"\0"))
    path: Path = ("GraphicAnnotationSequence", 0, "TextObjectSequence", 0, "UnformattedTextValue")
    places: list[Path] = [path, (0x60020022,), (0x60023000,), (0xFFFCFFFC,)]
    return [Check(Kind.TEXT_REMOVED, place, who.secrets) for place in places]


PLANTS: tuple[Plant, ...] = (_patient, _staff_and_place, _descriptions, _device, _private, _nested, _graphics)

SCRIPTS = (
    ("ISO_IR 100", "latin-1", "Müßigbrøødt^Jürgåen"),
    ("ISO_IR 192", "utf-8", "Ångströmïŝ^Žofiečka"),
    ("ISO_IR 192", "utf-8", "山田川口^太郎左衛門"),
    ("GB18030", "gb18030", "王小东西^南北路口"),
    (["", "ISO 2022 IR 87"], "iso2022_jp", "山田川口^太郎左衛門"),
)


def plant_script(data: Dataset, which: int) -> tuple[list[Check], tuple[bytes, ...]]:
    """Write the patient's name in another script, into a description and a comment too; return the bytes to miss."""
    charset, codec, name = SCRIPTS[which % len(SCRIPTS)]
    data.SpecificCharacterSet = charset
    written = name.encode(codec)
    data[0x00100010] = DataElement(0x00100010, "PN", written)
    data[0x0008103E] = DataElement(0x0008103E, "LO", b"Lung " + name.split("^")[0].encode(codec))
    data[0x00204000] = DataElement(0x00204000, "LT", written)
    paths: list[Path] = [("PatientName",), ("SeriesDescription",), ("ImageComments",)]
    words = tuple(name.split("^"))
    return [Check(Kind.TEXT_REMOVED, path, words) for path in paths], tuple(
        part.encode(codec) for part in name.split("^")
    )


def _uids(data: Dataset, who: Identity, number: int) -> list[Check]:
    root = f"1.2.826.0.1.3680043.8.498.{who.studied}.{who.patient_id[2:10]}"
    data.SOPClassUID = UID(data.get("SOPClassUID") or CT_CLASS)
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(f"{root}.1"), UID(f"{root}.2")
    data.FrameOfReferenceUID, data.IrradiationEventUID = UID(f"{root}.3"), UID(f"{root}.4")
    data.SOPInstanceUID = UID(f"{root}.5.{number}")
    for keyword in ("ReferencedImageSequence", "SourceImageSequence"):
        reference = Dataset()
        reference.ReferencedSOPClassUID = CT_CLASS
        reference.ReferencedSOPInstanceUID = UID(f"{root}.5.{1 - number}")
        reference.PatientName = who.name
        setattr(data, keyword, Sequence([reference]))
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", UID(f"{root}.1")
    data.ReferencedStudySequence = Sequence([study])
    kept: list[Path] = [
        *((k,) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")),
        ("ReferencedImageSequence", 0, "ReferencedSOPInstanceUID"),
        ("SourceImageSequence", 0, "ReferencedSOPInstanceUID"),
        ("file_meta", "MediaStorageSOPInstanceUID"),
    ]
    changed: list[Path] = [
        *kept,
        ("IrradiationEventUID",),
        ("ReferencedStudySequence", 0, "ReferencedSOPInstanceUID"),
    ]
    named: list[Path] = [(k, 0, "PatientName") for k in ("ReferencedImageSequence", "SourceImageSequence")]
    return [
        *(Check(Kind.UID_CHANGED, path) for path in changed),
        *(Check(Kind.UID_CONSISTENT, path) for path in kept),
        *(Check(Kind.TEXT_REMOVED, path, who.secrets) for path in named),
    ]


def _dates(data: Dataset, who: Identity, number: int) -> list[Check]:
    day = date.fromisoformat(who.studied)
    later = (day + timedelta(days=number)).strftime("%Y%m%d")
    data.StudyDate, data.SeriesDate, data.AcquisitionDate, data.ContentDate = who.studied, later, later, later
    data.AcquisitionDateTime = f"{later}101530.000"
    data.InstanceCreationDate = later
    data.PerformedProcedureStepStartDate = later
    data.add_new(0x00080024, "DA", later)  # OverlayDate, retired
    shifted = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime")
    removed = ("InstanceCreationDate", "PerformedProcedureStepStartDate", "OverlayDate")
    return [
        *(Check(Kind.DATE_SHIFTED, (keyword,)) for keyword in shifted),
        *(Check(Kind.TEXT_REMOVED, (keyword,), (later,)) for keyword in removed),
    ]
