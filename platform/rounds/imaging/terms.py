"""What the labels of the schemes mean in SNOMED CT, as DICOM SEG asks for it.

Categories and types are from DICOM PS3.16, CID 7150 (segmentation property categories), CID 7151 and CID 7159 (types);
the five lobes are the pre-coordinated concepts of SNOMED CT, International Edition of 2025-02-01.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A SNOMED CT concept."""

    value: str
    meaning: str


@dataclass(frozen=True)
class Term:
    """What a segment is: its category, its type, and the organ that it lies in where the type does not say it."""

    category: Code
    type: Code
    region: Code | None = None


ANATOMY = Code("91723000", "Anatomical Structure")
ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
LUNG = Code("39607008", "Lung")
LESION = Term(ABNORMAL, Code("52988006", "Lesion"), LUNG)

TERMS: dict[tuple[str, str], Term] = {
    ("lesion", "lesion"): LESION,
    ("lung", "lung"): Term(ANATOMY, LUNG),
    ("lobes", "left upper"): Term(ANATOMY, Code("44714003", "Upper lobe of left lung")),
    ("lobes", "left lower"): Term(ANATOMY, Code("41224006", "Lower lobe of left lung")),
    ("lobes", "right upper"): Term(ANATOMY, Code("42400003", "Upper lobe of right lung")),
    ("lobes", "right middle"): Term(ANATOMY, Code("72481006", "Middle lobe of right lung")),
    ("lobes", "right lower"): Term(ANATOMY, Code("266005", "Lower lobe of right lung")),
}
"""By scheme and label name."""


class TermMissing(Exception):
    """A label has no coded term."""


def term_of(scheme: str, label: str) -> Term:
    """Return the term of a label of a scheme; raise TermMissing."""
    found = TERMS.get((scheme, label))
    if found is None:
        raise TermMissing(
            f"the label {label!r} of scheme {scheme!r} has no coded term: add one to imaging/terms.py,"
            " or export as nifti or nrrd"
        )
    return found
