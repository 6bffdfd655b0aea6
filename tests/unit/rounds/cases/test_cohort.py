"""The cohort's figures and tables: what a bar says is what was counted, and nothing leaves the canvas."""

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from rounds.cases.cohort import NOT_TOLD, binned, by_decade
from rounds.cases.cohort_report import as_csv, as_png, figures, sections, tables, write
from rounds.cases.figures import Drawing, Figure, Series, draw, ticks

SVG = "{http://www.w3.org/2000/svg}"


def row(what: str, positive: int, negative: int, unknown: int = 0) -> dict[str, Any]:
    """Return a row of counts; every patient has one case, but one positive patient has two."""
    counts = {"positive": positive, "negative": negative, "unknown": unknown}
    patients = {f"{name}_patients": count for name, count in counts.items()}
    return {"what": what, **counts, **patients, "positive_patients": max(positive - 1, 0)}


def data(unknown: int = 0) -> dict[str, Any]:
    """Return a small cohort as it is counted; two hospitals, one with a name that a page must escape."""
    diagnosis = {"covid": 3, "other": 1, "healthy": 1, "unknown": unknown}
    split = {"what": "-", **diagnosis, **{f"{name}_patients": count for name, count in diagnosis.items()}}
    thin = {"positive": 3, "negative": 1, "unknown": unknown, "mm": 1.25}
    thick = {"positive": 1, "negative": 1, "unknown": 0, "mm": 5.0}
    return {
        "site": [row("North <b>& Son", 3, 2, unknown), row("=SUM(A1)", 1, 0)],
        "scanner": [row("GE Optima $CT$660", 4, 2, unknown)],
        "split": [row("-", 4, 2, unknown)],
        "total": [row("total", 4, 2, unknown)],
        "diagnosis": [split, {**split, "what": "train"}],
        "thickness": binned([thin, thick, {**thick, "mm": None}]),
        "age_sex": by_decade([{"decade": 50, "sex": "F", "n": 2}, {"decade": 70, "sex": "M", "n": 1}]),
        "clinical_type": [{"what": "mild", "cases": 4, "patients": 3}],
    }


def nothing() -> dict[str, Any]:
    names = ("site", "scanner", "split", "total", "diagnosis", "age_sex", "clinical_type")
    return {**{name: [] for name in names}, "thickness": binned([])}


def inside(drawing: Drawing) -> bool:
    return all(
        rect.x >= 0
        and rect.y >= 0
        and rect.x + rect.width <= drawing.width
        and rect.y + rect.height <= drawing.height
        for rect in drawing.rects
    )


@pytest.mark.parametrize("most", [0, 1, 3, 5, 6, 17, 99, 100, 101, 877, 123456])
def test_ticks_are_few_even_and_reach_the_top(most: int) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert found[-1] >= max(most, 1)
    assert len({other - one for one, other in pairwise(found)}) == 1
    assert 2 <= len(found) <= 6
    assert found[-2] < max(most, 1)


@pytest.mark.parametrize("across", [True, False])
def test_bars_are_as_long_as_their_counts_and_stand_on_each_other(across: bool) -> None:
    series = [Series("yes", "#111111", [30, 0]), Series("no", "#222222", [10, 7])]
    drawing = draw(Figure("f", "F", "cases", "who", ["a", "b"], series, across))
    bars = [rect for rect in drawing.rects if ":" in rect.title]
    assert [rect.title for rect in bars] == ["a, yes: 30", "a, no: 10", "b, no: 7"]
    length = [rect.width if across else rect.height for rect in bars]
    assert length[0] / length[1] == pytest.approx(3, rel=0.02)
    assert length[2] / length[1] == pytest.approx(0.7, rel=0.02)
    first, second, third = bars
    if across:
        assert second.x == pytest.approx(first.x + first.width, abs=0.2)
        assert third.x == first.x
        assert third.y > first.y + first.height
    else:
        assert second.y + second.height == pytest.approx(first.y, abs=0.2)
        assert third.y + third.height == pytest.approx(first.y + first.height, abs=0.2)
    assert inside(drawing)


def test_series_without_a_count_are_not_in_the_legend() -> None:
    shown = {name: {word.text for word in draw(figure).words} for name, figure in named(data()).items()}
    assert "negative" in shown["site"]
    assert NOT_TOLD not in shown["site"]
    assert NOT_TOLD in {word.text for word in draw(named(data(unknown=2))["site"]).words}


def named(counts: dict[str, Any]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(counts)}


def test_every_case_is_in_every_figure_of_cases() -> None:
    drawn = named(data(unknown=2))
    assert sum(drawn["site"].totals) == 8
    assert sum(drawn["scanner"].totals) == 8
    assert drawn["diagnosis"].categories == ["train", "not split yet"]
    assert drawn["thickness"].totals == [0, 0, 6, *[0] * 7, 2]
    assert (drawn["thickness"].categories[2], drawn["thickness"].end) == ("1", "5.5")
    assert drawn["age_sex"].categories == ["50–59", "60–69", "70–79"]
    assert drawn["age_sex"].totals == [2, 0, 1]
    assert all(inside(draw(figure)) for figure in drawn.values())


def test_tables_read_as_the_papers_print_them() -> None:
    laid = {table.name: table for table in tables(data())}
    assert laid["site"].columns == ("hospital", "positive", "negative")
    assert laid["site"].rows[0] == ["North <b>& Son", "3 (2)", "2 (2)"]
    assert laid["site"].rows[1] == ["=SUM(A1)", "1 (0)", "0"]
    assert laid["site"].rows[-1] == ["total", "4 (3)", "2 (2)"]
    with_unknown = {table.name: table for table in tables(data(unknown=2))}
    assert with_unknown["site"].columns[-1] == NOT_TOLD
    assert laid["clinical_type"].rows == [["mild", "4 (3)"]]


def test_thickness_is_binned_at_its_lower_edge_and_thin_means_under_two_millimetres() -> None:
    counts = {"positive": 1, "negative": 0, "unknown": 0}
    found = binned([{"mm": mm, **counts} for mm in (0.625, 1.999, 2.0, 2.5, None)])
    assert [bin_["positive"] for bin_ in found["bins"]] == [0, 1, 0, 1, 1, 1]
    assert (found["bins"][-1]["from_mm"], found["bins"][-1]["to_mm"]) == (2.5, 3.0)
    assert (found["under_2_mm"], found["not_told"]) == (0.5, 1)
    assert binned([]) == {"bins": [], "not_told": 0, "under_2_mm": None}


def test_ages_have_no_gap_and_end_with_ninety_and_over() -> None:
    found = by_decade(
        [
            {"decade": 90, "sex": "M", "n": 1},
            {"decade": 70, "sex": "F", "n": 2},
            {"decade": None, "sex": NOT_TOLD, "n": 3},
        ]
    )
    assert [one["age"] for one in found] == ["70 to 79", "80 to 89", "90 and over", NOT_TOLD]
    assert found[0] == {"age": "70 to 79", "F": 2, "M": 0, "O": 0, NOT_TOLD: 0}
    assert found[-1][NOT_TOLD] == 3


def test_csv_has_every_count_and_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(data()["site"]))))
    assert rows[0][:4] == ["what", "positive", "negative", "unknown"]
    assert rows[2][0] == "'=SUM(A1)"
    assert rows[1][1:3] == ["3", "2"]
    assert as_csv([]) == ""
    assert list(csv.reader(io.StringIO(as_csv(data()["split"]))))[1][0] == "-"


def test_pngs_show_bars_in_the_colours_of_their_series() -> None:
    for figure in figures(data()):
        image = cv2.imdecode(np.frombuffer(as_png(figure), dtype=np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[1] == 1125
        for series in figure.shown:
            blue, green, red = (int(series.colour[start : start + 2], 16) for start in (5, 3, 1))
            assert (image == (blue, green, red)).all(axis=2).sum() > 500, (figure.name, series.name)


def test_report_is_one_page_that_asks_no_other_host(tmp_path: Path) -> None:
    written = write(data(unknown=1), tmp_path / "report")
    assert {path.suffix for path in written} == {".html", ".csv", ".png"}
    assert all(path.stat().st_size for path in written)
    html = (tmp_path / "report" / "cohort.html").read_text()
    assert "North &lt;b&gt;&amp; Son" in html
    assert "<script" not in html
    assert "src=" not in html
    assert "href=" not in html
    assert "url(" not in html
    charts = html.split("<svg")[1:]
    assert len(charts) == 6
    for chart in charts:
        root = ElementTree.fromstring("<svg" + chart.split("</svg>")[0] + "</svg>")  # noqa: S314
        assert len(root.findall(f"{SVG}rect")) > 0
        assert all(rect.get("fill", "").startswith("#") for rect in root.findall(f"{SVG}rect"))


def test_cohort_without_a_case_is_a_report_without_figures(tmp_path: Path) -> None:
    assert figures(nothing()) == []
    assert all(section.drawing is None for section in sections(nothing()))
    names = {path.name for path in write(nothing(), tmp_path)}
    assert "cohort.html" in names
    assert not any(name.endswith(".png") for name in names)
    assert "Nothing is known yet" in (tmp_path / "cohort.html").read_text()
