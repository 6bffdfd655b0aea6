"""De-identify the files of a folder with another package, as its documentation shows: rivals.py NAME IN OUT.

It runs in an environment that has the package (rivals.txt). Exit status 3: the package is not there.
"""

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom

RECIPE = """FORMAT dicom

%header
ADD PatientIdentityRemoved YES
REPLACE PatientID func:alias
REPLACE PatientName func:alias
REPLACE StudyInstanceUID func:uid
REPLACE SeriesInstanceUID func:uid
REPLACE SOPInstanceUID func:uid
REPLACE FrameOfReferenceUID func:uid
JITTER StudyDate -100
JITTER SeriesDate -100
JITTER AcquisitionDate -100
JITTER ContentDate -100
REMOVE endswith:Time
REMOVE PatientBirthDate
REMOVE AccessionNumber
REMOVE StudyID
REMOVE contains:PhysicianName
REMOVE contains:Physicians
REMOVE contains:OtherPatient
REMOVE contains:Institution
REMOVE contains:Comments
REMOVE contains:Description
REMOVE contains:Request
REMOVE startswith:PerformedProcedure
REMOVE contains:Address
REMOVE contains:Telephone
REMOVE contains:BirthName
REMOVE OperatorsName
REMOVE StationName
REMOVE DeviceSerialNumber
REMOVE IssuerOfPatientID
REMOVE AdditionalPatientHistory
REMOVE Occupation
REMOVE ResponsiblePerson
REMOVE PatientAge
REMOVE ProtocolName
REMOVE OriginalAttributesSequence
REMOVE GraphicAnnotationSequence
"""


def dicognito() -> Callable[[Path, Path], None]:
    """Use one Anonymizer for all files, as its README has it."""
    anonymizer = importlib.import_module("dicognito.anonymizer").Anonymizer(seed="bench")

    def run(source: Path, target: Path) -> None:
        data = pydicom.dcmread(source)
        anonymizer.anonymize(data)
        data.save_as(target)

    return run


def dicom_anonymizer() -> Callable[[Path, Path], None]:
    """Use the default rules (table E.1-1), private tags deleted."""
    module = importlib.import_module("dicomanonymizer.simpledicomanonymizer")

    def run(source: Path, target: Path) -> None:
        module.anonymize_dicom_file(str(source), str(target))

    return run


def deid() -> Callable[[Path, Path], None]:
    """Use a recipe of our own in the manner of the package's default one, which itself judges the pixels."""
    header: Any = importlib.import_module("deid.dicom")
    config: Any = importlib.import_module("deid.config")
    cleaner: Any = header.DicomCleaner()
    aliases: dict[str, str] = {}
    uids: dict[str, str] = {}

    def uid(item: Any, value: Any, field: Any, dicom: Any) -> str:
        return uids.setdefault(str(field.element.value), pydicom.uid.generate_uid(None))

    def alias(item: Any, value: Any, field: Any, dicom: Any) -> str:
        return aliases.setdefault(str(dicom.get("PatientName")), f"ANON{len(aliases)}")

    def run(source: Path, target: Path) -> None:
        if source.stem.endswith("pixels") and cleaner.detect(str(source))["flagged"]:
            return  # its rules say that text is likely: not to be given away as it is
        recipe = config.DeidRecipe(str(target.parent / "recipe.deid"), base=False)
        items = header.get_identifiers([str(source)])
        for one in items.values():
            one["uid"], one["alias"] = uid, alias
        done = header.replace_identifiers(
            [str(source)], deid=recipe, ids=items, save=False, remove_private=True
        )
        done[0].save_as(target)

    return run


CONTENDERS = {"dicognito": dicognito, "dicom-anonymizer": dicom_anonymizer, "deid": deid}


def main() -> int:
    name, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    try:
        run = CONTENDERS[name]()
    except ImportError:
        return 3
    (target / "recipe.deid").write_text(RECIPE)
    warnings.simplefilter("ignore")
    for path in sorted(source.iterdir()):
        noise = io.StringIO()
        with (
            contextlib.redirect_stdout(noise),
            contextlib.redirect_stderr(noise),
            contextlib.suppress(Exception),
        ):
            run(path, target / path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
