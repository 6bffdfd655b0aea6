"""The cohort as tables and figures: for the page, and as HTML, CSV and PNG files."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rounds.cases.cohort import NOT_TOLD
from rounds.cases.figures import Drawing, Figure, Series, draw

POSITIVE, NEGATIVE, HEALTHY, UNKNOWN = "#d55e00", "#3a87c8", "#2f9e6e", "#8a8f98"
WOMEN, MEN = "#9a78c8", "#2a9d8f"
OUTCOMES = {
    "positive": ("positive", POSITIVE),
    "negative": ("negative", NEGATIVE),
    "unknown": (NOT_TOLD, UNKNOWN),
}
DIAGNOSES = {
    "covid": ("COVID-19", POSITIVE),
    "other": ("other disease", NEGATIVE),
    "healthy": ("healthy", HEALTHY),
    "unknown": (NOT_TOLD, UNKNOWN),
}
SEXES = {
    "F": ("women", WOMEN),
    "M": ("men", MEN),
    "O": ("other", NEGATIVE),
    NOT_TOLD: (NOT_TOLD, UNKNOWN),
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """A table as the papers print theirs: cells are `cases (patients)`; the last row may be the total."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with its figure, its table and a sentence; any of the three may be missing."""

    name: str
    title: str
    drawing: Drawing | None
    table: Table | None
    note: str


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Return the report's sections in order."""
    drawn = {figure.name: draw(figure) for figure in figures(data)}
    laid = {table.name: table for table in tables(data)}
    thickness = data["thickness"]
    thin = thickness["under_2_mm"]
    notes = {
        "thickness": (
            ("" if thin is None else f"{thin:.0%} under 2 mm.".replace("%", " %"))
            + (f" {thickness['not_told']} cases do not say." if thickness["not_told"] else "")
        ).strip(),
        "age_sex": "Positive patients; ages are at the scan as the manifest has them, 90 stands for 90 and over.",
        "clinical_type": "Positive cases.",
    }
    return [
        Section(name, title, drawn.get(name), laid.get(name), notes.get(name, ""))
        for name, title in TITLES.items()
    ]


TITLES = {
    "site": "Cases (patients) by hospital",
    "scanner": "Cases (patients) by scanner",
    "diagnosis": "Cases (patients) by split and diagnosis",
    "thickness": "Slice thickness",
    "age_sex": "Age and sex",
    "clinical_type": "Clinical type",
}


def figures(data: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of the report, those without a bar left out."""
    bins = data["thickness"]["bins"]
    made = [
        Figure("site", "Cases by hospital", "cases", "hospital", *_stacked(data["site"], OUTCOMES)),
        Figure("scanner", "Cases by scanner", "cases", "scanner", *_stacked(data["scanner"], OUTCOMES)),
        Figure(
            "diagnosis",
            "Cases by split and diagnosis",
            "cases",
            "split",
            *_stacked(_splits(data["diagnosis"]), DIAGNOSES),
        ),
        Figure(
            "thickness",
            TITLES["thickness"],
            "cases",
            "slice thickness, mm",
            *_stacked([{"what": f"{row['from_mm']:g}", **row} for row in bins], OUTCOMES),
            across=False,
            histogram=True,
            end=f"{bins[-1]['to_mm']:g}" if bins else "",
        ),
        Figure(
            "age_sex",
            "Age and sex of positive patients",
            "patients",
            "age, years",
            *_stacked([{"what": _brief(row["age"]), **row} for row in data["age_sex"]], SEXES),
            across=False,
        ),
        Figure(
            "clinical_type",
            "Clinical type of positive cases",
            "cases",
            "clinical type",
            *_stacked(data["clinical_type"], {"cases": ("cases", POSITIVE)}),
        ),
    ]
    return [figure for figure in made if figure.categories]


def tables(data: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the report."""
    outcomes = {name: shown for name, (shown, _) in OUTCOMES.items()}
    diagnoses = {name: shown for name, (shown, _) in DIAGNOSES.items()}
    sexes = {name: shown for name, (shown, _) in SEXES.items()}
    bins = [
        [f"{row['from_mm']:g} to under {row['to_mm']:g}", *(str(row[name]) for name in outcomes)]
        for row in data["thickness"]["bins"]
        if any(row[name] for name in outcomes)
    ]
    ages = [[row["age"], *(str(row[name]) for name in sexes)] for row in data["age_sex"]]
    types = [[row["what"], f"{row['cases']} ({row['patients']})"] for row in data["clinical_type"]]
    return [
        _table("site", "hospital", [*data["site"], *data["total"]], outcomes),
        _table("scanner", "scanner", [*data["scanner"], *data["total"]], outcomes),
        _table("diagnosis", "split", _splits(data["diagnosis"]), diagnoses),
        Table("thickness", TITLES["thickness"], ("mm", *outcomes.values()), bins),
        Table("age_sex", "Age and sex of positive patients", ("age", *sexes.values()), ages),
        Table("clinical_type", TITLES["clinical_type"], ("clinical type", "cases (patients)"), types),
    ]


def write(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `cohort.html`, a CSV for every count and a PNG for every figure into a folder; return what was written."""
    from rounds.web.pages import (
        environment,  # the templates come with the service, which other reports do not need
    )

    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    html = environment().get_template("cases/cohort_report.jinja")
    files = {"cohort.html": html.render(sections=sections(data), at=at).encode()}
    counts = {name: rows for name, rows in data.items() if name != "thickness"}
    for name, rows in {**counts, "thickness": data["thickness"]["bins"]}.items():
        files[f"{name}.csv"] = as_csv(rows).encode()
    for figure in figures(data):
        files[f"{figure.name}.png"] = as_png(figure)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def as_csv(rows: Rows) -> str:
    """Write rows as CSV; a text that a spreadsheet would take for a formula is led by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_harmless(value) for value in row.values()])
    return text.getvalue()


def as_png(figure: Figure) -> bytes:
    """Draw a figure on paper: white, 150 dots an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure as Sheet

    bars = len(figure.categories)
    size = (7.5, 1.7 + 0.32 * bars) if figure.across else (7.5, 3.8)
    sheet = Sheet(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(sheet)
    axes = sheet.add_subplot()
    base = [0] * bars
    places = range(bars)
    for series in figure.shown:
        values = list(series.values)
        if figure.across:
            axes.barh(places, values, 0.68, left=base, color=series.colour, label=series.name)
        elif figure.histogram:
            axes.bar(places, values, 0.96, bottom=base, color=series.colour, label=series.name, align="edge")
        else:
            axes.bar(places, values, 0.72, bottom=base, color=series.colour, label=series.name)
        base = [one + other for one, other in zip(base, values, strict=True)]
    _label(axes, figure)
    buffer = io.BytesIO()
    sheet.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _label(axes: Any, figure: Figure) -> None:
    """Write title, names, totals and legend; counts are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    names = [name.replace("$", r"\$") for name in figure.categories]  # a dollar would start a formula
    axes.set_title(figure.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if figure.across:
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.invert_yaxis()
        axes.set_xlabel(figure.unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.1)
        for index, total in enumerate(figure.totals):
            axes.annotate(
                str(total), (total, index), (4, 0), textcoords="offset points", va="center", fontsize=9
            )
    else:
        edges = [*names, figure.end] if figure.histogram else names
        axes.set_xticks(range(len(edges)), edges, fontsize=8)
        axes.set_xlabel(figure.axis)
        axes.set_ylabel(figure.unit)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if len(figure.series) > 1:
        axes.figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _stacked(rows: Rows, names: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[Series]]:
    """Return the categories of rows and a series for each of the columns `names`."""
    return [str(row["what"]) for row in rows], [
        Series(shown, colour, [int(row[name]) for row in rows]) for name, (shown, colour) in names.items()
    ]


def _table(name: str, first: str, rows: Rows, columns: Mapping[str, str]) -> Table:
    """Lay rows out as `cases (patients)`; a column in which nobody is stays out if it is for what is not told."""
    kept = [column for column in columns if column != "unknown" or any(row[column] for row in rows)]
    cells = [
        [str(row["what"]), *(_cell(row[column], row[f"{column}_patients"]) for column in kept)]
        for row in rows
    ]
    return Table(name, TITLES[name], (first, *(columns[column] for column in kept)), cells)


def _splits(rows: Rows) -> list[Mapping[str, Any]]:
    """Return the rows of the splits in the order of their use, in words."""
    known = {"train": "train", "val": "validation", "test": "test", "-": "not split yet"}
    named = {row["what"]: {**row, "what": known[row["what"]]} for row in rows}
    return [named[name] for name in known if name in named]


def _brief(age: str) -> str:
    return age.replace(" to ", "–").replace(" and over", "+")


def _cell(cases: int, patients: int) -> str:
    return f"{cases} ({patients})" if cases else "0"


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) and value != "-" else value
