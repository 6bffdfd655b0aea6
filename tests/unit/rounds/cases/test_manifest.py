"""The manifest of a site: what is understood, and mistakes named by place, never by content."""

from datetime import date

import pytest

from rounds.cases.model import ManifestInvalid, PatientFacts, read_manifest

FULL = """patient_id,diagnosis,clinical_type,age,sex,nat_date
A-1,COVID,severe,47,m,2020-02-07
A-2,healthy,,93,F,
"""


def test_facts_by_patient() -> None:
    assert read_manifest(FULL) == {
        "A-1": PatientFacts("covid", "severe", 47, "M", date(2020, 2, 7)),
        "A-2": PatientFacts("healthy", None, 90, "F", None),  # 90 stands for 90 and over
    }


def test_columns_may_be_missing_and_in_any_order() -> None:
    assert read_manifest("diagnosis,patient_id\nother, B \n") == {"B": PatientFacts("other")}
    assert read_manifest("patient_id\nB\n") == {"B": PatientFacts()}
    assert read_manifest("patient_id\n") == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("diagnosis", "flu"),
        ("age", "-3"),
        ("age", "4.5"),
        ("age", "131"),
        ("age", "²"),
        ("sex", "W"),
        ("nat_date", "07.02.2020"),
        ("nat_date", "2020-02-30"),
    ],
)
def test_mistake_is_named_by_row_and_column(column: str, value: str) -> None:
    text = f"patient_id,{column}\nNAME-1,\nNAME-2,{value}\n"
    with pytest.raises(ManifestInvalid, match=f"row 3: {column}$") as refused:
        read_manifest(text)
    assert value not in str(refused.value)


def test_every_mistake_is_listed_and_no_patient_named() -> None:
    text = "patient_id,sex,age\nDOE-1,X,200\nDOE-1,F,30\nDOE-1,F,30\n,F,30\nDOE-2,F,30,more\n"
    with pytest.raises(ManifestInvalid) as refused:
        read_manifest(text)
    told = str(refused.value)
    assert "row 2: age, sex" in told
    assert "row 4: patient_id (empty or given twice)" in told
    assert "row 5: patient_id (empty or given twice)" in told
    assert "row 6: too many columns" in told
    assert "row 3" not in told
    assert "DOE" not in told


def test_row_that_is_too_short_is_read_as_far_as_it_goes() -> None:
    assert read_manifest("patient_id,diagnosis,sex\nB\n") == {"B": PatientFacts()}


def test_empty_line_is_no_patient() -> None:
    assert set(read_manifest("patient_id\nB\n\nC\n")) == {"B", "C"}


@pytest.mark.parametrize("text", ["", "name\nB\n"])
def test_manifest_without_patient_ids_is_refused(text: str) -> None:
    with pytest.raises(ManifestInvalid, match="no column patient_id"):
        read_manifest(text)


def test_unknown_column_is_named_by_number_as_its_heading_may_be_data() -> None:
    with pytest.raises(ManifestInvalid, match="column 2 of the manifest") as refused:
        read_manifest("patient_id,DOE JOHN\nB,1\n")
    assert "DOE" not in str(refused.value)
