"""Cases and patients in the database."""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from rounds.cases.model import CaseUnknown, NewCase, PatientFacts
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.trail.store import record

COLUMNS = (
    "id, patient_id, site, manufacturer, scanner, source_slices, source_spacing, spacing, shape, affine, lung_hu,"
    " volume, slices, dicom, created_at"
)


@dataclass(frozen=True)
class Case:
    """A scan that passed the geometry gate; spacing (z, y, x) mm and shape (z, y, x) are the reading volume's."""

    id: int
    patient_id: str
    site: str
    manufacturer: str
    scanner: str
    source_slices: int
    source_spacing: Sequence[float]
    spacing: Sequence[float]
    shape: Sequence[int]
    affine: Sequence[Sequence[float]]
    lung_hu: float | None
    volume: str
    slices: Sequence[str]
    dicom: str
    created_at: Any


PART = re.compile(r":\d+$")
"""The key of a further volume of the same series; the first one is written last and has the key without."""


@dataclass(frozen=True)
class Standing:
    """The case that a series became, all its cases, and how many slices the series had when it came in."""

    case_id: int
    cases: tuple[int, ...]
    slices: int


def accept(
    conn: Connection, case: NewCase, schemes: Sequence[str], actor: str, corrections: Sequence[str] = ()
) -> int | None:
    """Write a case with its labels in the caller's transaction; return None when the series was there already.

    Whether a case of a study is the one to read is for `choosing.settle` to say, in the same transaction.
    `corrections` says in words what was done to the scan besides decoding and resampling; the trail keeps it.
    """
    conn.execute("INSERT INTO patients (id) VALUES (%s) ON CONFLICT DO NOTHING", (case.patient,))
    values = [_listed(value) for value in astuple(case)]
    row = conn.execute(
        """
        INSERT INTO cases (series_key, patient_id, site, manufacturer, scanner, source_slices, source_spacing, spacing,
                           shape, affine, thickness, lung_hu, volume, slices, dicom, policy_version, study, sharpness,
                           chosen)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (series_key) DO NOTHING RETURNING id
        """,
        [*values, case.study is None],
    ).fetchone()
    if row is None:
        return None
    case_id = int(row["id"])
    for scheme in schemes:
        labels.create(conn, case_id, scheme)
    detail = {"site": case.site, "slices": case.source_slices}
    if corrections:
        detail["corrections"] = list(corrections)
    record(conn, actor, "ingest", "case", case_id, detail=detail)
    return case_id


def tell(conn: Connection, patient: str, facts: PatientFacts, actor: str) -> None:
    """Write down what a manifest says of a patient; an empty field leaves what is known."""
    row = conn.execute(
        """
        INSERT INTO patients AS p (id, diagnosis, clinical_type, age, sex, nat_date) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (id) DO UPDATE SET
            diagnosis = coalesce(excluded.diagnosis, p.diagnosis),
            clinical_type = coalesce(excluded.clinical_type, p.clinical_type),
            age = coalesce(excluded.age, p.age), sex = coalesce(excluded.sex, p.sex),
            nat_date = coalesce(excluded.nat_date, p.nat_date)
        WHERE (p.diagnosis, p.clinical_type, p.age, p.sex, p.nat_date) IS DISTINCT FROM
            (coalesce(excluded.diagnosis, p.diagnosis), coalesce(excluded.clinical_type, p.clinical_type),
             coalesce(excluded.age, p.age), coalesce(excluded.sex, p.sex), coalesce(excluded.nat_date, p.nat_date))
        RETURNING id
        """,
        (patient, *astuple(facts)),
    ).fetchone()
    if row is not None:
        record(conn, actor, "tell", "patient", patient, detail={"diagnosis": facts.diagnosis})


def known(conn: Connection, series_key: str) -> Standing | None:
    """Return the cases that stand for this series, those left out that a later delivery replaced, or None."""
    rows = conn.execute(
        """
        SELECT id, series_key, coalesce(delivered, source_slices) AS delivered FROM cases c
        WHERE (series_key = %(key)s OR series_key LIKE %(key)s || ':%%')
            AND NOT EXISTS (SELECT FROM cases r WHERE c.id = ANY (r.replaces)) ORDER BY id
        """,
        {"key": series_key},
    ).fetchall()
    whole = [row for row in rows if not PART.search(row["series_key"])]
    if not whole:
        return None
    return Standing(
        int(whole[-1]["id"]),
        tuple(int(row["id"]) for row in rows),
        max(int(row["delivered"]) for row in rows),
    )


def remember_release(
    conn: Connection, case_id: int, over: Sequence[str], replaced: Sequence[int], delivered: int
) -> None:
    """Write down over which refusals a case was let in, which cases it stands in for, how many slices came."""
    conn.execute(
        "UPDATE cases SET released_over = %s, replaces = %s, delivered = %s WHERE id = %s",
        (list(over), list(replaced), delivered, case_id),
    )


def get(conn: Connection, case_id: int) -> Case:
    """Return a case; raise CaseUnknown."""
    row = conn.execute(f"SELECT {COLUMNS} FROM cases WHERE id = %s", (case_id,)).fetchone()
    if row is None:
        raise CaseUnknown(f"there is no case {case_id}: see `rounds cases`")
    return Case(**row)


def everything(conn: Connection) -> list[dict[str, Any]]:
    """Return all cases with where their labels stand, oldest first, as `rounds cases` prints them."""
    return conn.execute(
        """
        SELECT c.id AS "case", c.patient_id AS patient, c.site, c.manufacturer, c.scanner, p.diagnosis, c.source_slices,
               c.spacing AS spacing_mm, c.key_id AS key, c.chosen, c.choice,
               (SELECT jsonb_object_agg(scheme, stage) FROM labels WHERE case_id = c.id) AS labels
        FROM cases c JOIN patients p ON p.id = c.patient_id ORDER BY c.id
        """
    ).fetchall()


def _listed(value: Any) -> Any:
    """Turn tuples into lists, which psycopg writes as arrays."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
