"""The cohort counted as the papers count theirs: cases (patients) by hospital, scanner and split, and who they are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rounds.cases.model import AGE_CAP, DIAGNOSES, SEXES
from rounds.db import Connection

GROUPS = {
    "site": "c.site",
    "scanner": "c.manufacturer || ' ' || c.scanner",
    "split": "coalesce(s.split, '-')",
    "total": "'total'",
}
OUTCOMES = {
    "positive": "p.diagnosis = 'covid'",
    "negative": "p.diagnosis IN ('other', 'healthy')",
    "unknown": "p.diagnosis IS NULL",
}
NOT_TOLD = "not told"
BIN_MM = 0.5
THIN_MM = 2.0
_FROM = "FROM cases c JOIN patients p ON p.id = c.patient_id LEFT JOIN splits s ON s.patient_id = p.id"

Row = dict[str, Any]


def cohort(conn: Connection) -> dict[str, Any]:
    """Count the cohort in every way that the report shows; JSON as it is."""
    diagnoses = {name: f"p.diagnosis = '{name}'" for name in DIAGNOSES}
    return {
        **{name: counted(conn, column, OUTCOMES) for name, column in GROUPS.items() if name != "total"},
        "total": counted(conn, GROUPS["total"], OUTCOMES),
        "diagnosis": counted(conn, GROUPS["split"], {**diagnoses, "unknown": OUTCOMES["unknown"]}),
        "thickness": thickness(conn),
        "age_sex": age_sex(conn),
        "clinical_type": clinical_types(conn),
    }


def counted(conn: Connection, column: str, conditions: Mapping[str, str]) -> list[Row]:
    """Count cases and patients by a column, once for each condition: `<name>` and `<name>_patients`."""
    counts = ", ".join(
        f"count(*) FILTER (WHERE {condition}) AS {name},"
        f" count(DISTINCT p.id) FILTER (WHERE {condition}) AS {name}_patients"
        for name, condition in conditions.items()
    )
    return conn.execute(f"SELECT {column} AS what, {counts} {_FROM} GROUP BY 1 ORDER BY 1").fetchall()


def thickness(conn: Connection) -> dict[str, Any]:
    """Return the slice thickness (mm, as the scanner states it) of the cases in bins of half a millimetre."""
    counts = ", ".join(
        f"count(*) FILTER (WHERE {condition}) AS {name}" for name, condition in OUTCOMES.items()
    )
    found = conn.execute(f"SELECT c.thickness AS mm, {counts} {_FROM} GROUP BY 1").fetchall()
    return binned(found)


def binned(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bin counts by thickness `mm`; `under_2_mm` is the share of thin slices among cases that state a thickness."""
    told = [row for row in found if row["mm"] is not None]
    last = max((math.floor(row["mm"] / BIN_MM) for row in told), default=-1)
    bins: list[Row] = [
        {"from_mm": index * BIN_MM, "to_mm": (index + 1) * BIN_MM, **dict.fromkeys(OUTCOMES, 0)}
        for index in range(last + 1)
    ]
    for row in told:
        for name in OUTCOMES:
            bins[math.floor(row["mm"] / BIN_MM)][name] += row[name]
    cases = sum(row[name] for row in told for name in OUTCOMES)
    thin = sum(row[name] for row in told if row["mm"] < THIN_MM for name in OUTCOMES)
    untold = sum(row[name] for row in found if row["mm"] is None for name in OUTCOMES)
    return {"bins": bins, "not_told": untold, "under_2_mm": thin / cases if cases else None}


def age_sex(conn: Connection) -> list[Row]:
    """Count the positive patients who have a case by decade of age and by sex."""
    found = conn.execute(
        """
        SELECT age / 10 * 10 AS decade, coalesce(sex, %s) AS sex, count(*) AS n FROM patients p
        WHERE diagnosis = 'covid' AND EXISTS (SELECT FROM cases c WHERE c.patient_id = p.id) GROUP BY 1, 2
        """,
        (NOT_TOLD,),
    ).fetchall()
    return by_decade(found)


def by_decade(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Lay counts by `decade` and `sex` out as rows from the youngest to the oldest decade, without a gap."""
    told = [row["decade"] for row in found if row["decade"] is not None]
    ages = [*range(min(told), max(told) + 10, 10)] if told else []
    rows: dict[int | None, Row] = {
        decade: {"age": _decade(decade), **dict.fromkeys((*SEXES, NOT_TOLD), 0)}
        for decade in [*ages, *([None] if any(row["decade"] is None for row in found) else [])]
    }
    for row in found:
        rows[row["decade"]][row["sex"]] += row["n"]
    return list(rows.values())


def clinical_types(conn: Connection) -> list[Row]:
    """Count positive cases and patients by clinical type, the most frequent first."""
    return conn.execute(
        f"""
        SELECT coalesce(p.clinical_type, %s) AS what, count(*) AS cases, count(DISTINCT p.id) AS patients {_FROM}
        WHERE p.diagnosis = 'covid' GROUP BY p.clinical_type ORDER BY p.clinical_type IS NULL, 2 DESC, 1
        """,
        (NOT_TOLD,),
    ).fetchall()


def _decade(first: int | None) -> str:
    if first is None:
        return NOT_TOLD
    return f"{first} and over" if first >= AGE_CAP else f"{first} to {first + 9}"
