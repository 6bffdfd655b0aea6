"""The cohort counted in a real PostgreSQL: by the command, as files, and on the page of the service."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from tests.integration.clinic import PASSWORD, as_person
from tests.integration.ward import own_database

from rounds.app import create_app
from rounds.cases.cohort import cohort
from rounds.cli import rounds
from rounds.db import Connection, connect
from rounds.people import store as people
from rounds.people.model import Role
from rounds.settings import Settings

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class Patient:
    """A patient and where his cases were scanned, as (site, model, thickness in mm)."""

    name: str
    diagnosis: str | None
    cases: tuple[tuple[str, str, float | None], ...]
    kind: str | None = None
    age: int | None = None
    sex: str | None = None
    split: str | None = None


PATIENTS = (
    Patient("a", "covid", (("north", "X1", 1.0), ("north", "X1", 5.0)), "severe", 64, "F", "train"),
    Patient("b", "covid", (("north", "X1", 1.25), ("south", "X2", 1.25)), "mild", 90, "M", "train"),
    Patient("c", "covid", (("south", "X2", None),), None, None, None, "test"),
    Patient("d", "other", (("north", "X2", 2.0),), None, 40, "F"),
    Patient("e", "healthy", (("south", "X2", 0.625),)),
    Patient("f", None, (("south", "X2", 1.0),)),
    Patient("g", "covid", (), "mild", 50, "F"),  # in the manifest, but no scan of his came in
)


@pytest.fixture(scope="module")
def hospital(stack: Settings) -> Iterator[Settings]:
    with own_database(stack, "rounds_test_cohort") as own:
        with connect(own) as conn, conn.transaction():
            for patient in PATIENTS:
                add(conn, patient)
            for short, role in {"sue": Role.SENIOR, "ben": Role.CHECKER}.items():
                people.add(conn, "operator", f"{short}@clinic.example", short, [role], PASSWORD)
        yield own


def add(conn: Connection, patient: Patient) -> None:
    conn.execute(
        "INSERT INTO patients (id, diagnosis, clinical_type, age, sex) VALUES (%s, %s, %s, %s, %s)",
        (patient.name, patient.diagnosis, patient.kind, patient.age, patient.sex),
    )
    if patient.split:
        conn.execute("INSERT INTO splits VALUES (%s, %s)", (patient.name, patient.split))
    for number, (site, model, thickness) in enumerate(patient.cases):
        conn.execute(
            """
            INSERT INTO cases (series_key, patient_id, site, manufacturer, scanner, source_slices, source_spacing,
                               spacing, shape, affine, thickness, volume, slices, dicom, policy_version)
            VALUES (%s, %s, %s, 'Maker', %s, 10, '{2,1,1}', '{2,1,1}', '{10,5,5}', '{{1}}', %s, 'v', '{}', 'd', '1')
            """,
            (f"{patient.name}{number}", patient.name, site, model, thickness),
        )


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setenv("ROUNDS_DATABASE_URL", settings.require("database_url"))
    done = CliRunner().invoke(rounds, ["report", "cohort", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    names = ("positive", "positive_patients", "negative", "negative_patients", "unknown", "unknown_patients")
    return tuple(row[name] for name in names)


def test_cases_and_patients_are_counted_each_in_its_place(hospital: Settings) -> None:
    with connect(hospital) as conn:
        found = cohort(conn)
    by_site = {row["what"]: counts(row) for row in found["site"]}
    assert by_site == {"north": (3, 2, 1, 1, 0, 0), "south": (2, 2, 1, 1, 1, 1)}
    by_scanner = {row["what"]: counts(row) for row in found["scanner"]}
    assert by_scanner == {"Maker X1": (3, 2, 0, 0, 0, 0), "Maker X2": (2, 2, 2, 2, 1, 1)}
    assert [counts(row) for row in found["total"]] == [(5, 3, 2, 2, 1, 1)]
    assert {row["what"]: counts(row)[:2] for row in found["split"]} == {
        "-": (0, 0),
        "train": (4, 2),
        "test": (1, 1),
    }
    untold = next(row for row in found["diagnosis"] if row["what"] == "-")
    assert (untold["other"], untold["healthy"], untold["unknown"], untold["covid"]) == (1, 1, 1, 0)


def test_thickness_age_sex_and_clinical_type_are_those_of_who_came_in(hospital: Settings) -> None:
    with connect(hospital) as conn:
        found = cohort(conn)
    thickness = found["thickness"]
    assert thickness["not_told"] == 1
    assert thickness["under_2_mm"] == pytest.approx(5 / 7)
    assert sum(bin_["positive"] for bin_ in thickness["bins"]) == 4
    ages = {row["age"]: {sex: n for sex, n in row.items() if n and sex != "age"} for row in found["age_sex"]}
    assert {age: sexes for age, sexes in ages.items() if sexes} == {
        "60 to 69": {"F": 1},
        "90 and over": {"M": 1},
        "not told": {"not told": 1},
    }
    assert found["clinical_type"] == [
        {"what": "mild", "cases": 2, "patients": 1},
        {"what": "severe", "cases": 2, "patients": 1},
        {"what": "not told", "cases": 1, "patients": 1},
    ]


def test_command_prints_one_document_and_writes_the_files(
    hospital: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = json.loads(run(hospital, monkeypatch, "--json", "--out", str(tmp_path / "report")))
    assert {"site", "scanner", "split"} <= told.keys()
    assert {Path(name).name for name in told["files"]} == {
        path.name for path in (tmp_path / "report").iterdir()
    }
    assert (tmp_path / "report" / "site.png").read_bytes()[:4] == b"\x89PNG"
    assert "files" not in json.loads(run(hospital, monkeypatch, "--json"))
    text = run(hospital, monkeypatch)
    assert "Cases (patients) by hospital" in text
    assert re.search(r"total\s+│ 5 \(3\)\s+│ 2 \(2\)\s+│ 1 \(1\)", text)


def test_page_is_for_those_who_oversee_and_names_nobody(hospital: Settings) -> None:
    with TestClient(create_app(hospital)) as client:
        as_person(client, "ben")
        assert client.get("/cohort").status_code == 403
        assert '<a href="/cohort"' not in client.get("/").text
        client.cookies.clear()
        as_person(client, "sue")
        assert '<a href="/cohort"' in client.get("/").text
        shown = client.get("/cohort")
    assert shown.status_code == 200
    assert shown.text.count("<svg") == 6
    assert "5 (3)" in shown.text
    assert "style=" not in shown.text
    assert set(re.findall(r'https?://([^/"]+)', shown.text)) == {"www.w3.org"}
    assert 'xmlns="http://www.w3.org/2000/svg"' in shown.text


def test_page_of_an_empty_house_says_what_to_do(stack: Settings) -> None:
    with own_database(stack, "rounds_test_empty") as own:
        with connect(own) as conn, conn.transaction():
            people.add(conn, "operator", "sue@clinic.example", "sue", [Role.SENIOR], PASSWORD)
        with TestClient(create_app(own)) as client:
            as_person(client, "sue")
            shown = client.get("/cohort")
    assert shown.status_code == 200
    assert "rounds ingest" in shown.text
