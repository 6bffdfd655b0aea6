"""What commands print: one JSON document and nothing else, or a table for a person."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console
from rich.table import Table

from rounds.terminal import emit, progress, shown, table


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"stages": [{"cases": 4, "dice": 0.5, "auc": None}], "at": datetime(2026, 1, 2, tzinfo=UTC)}
    emit(data, as_json=True, text="for people")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["stages"] == data["stages"]
    assert "people" not in captured.out
    assert captured.err == ""


def test_a_wide_table_goes_whole_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{f"a_long_heading_{number}": number / 8 for number in range(12)}]
    emit(rows, as_json=False, text=table("Wide", rows))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert all(f"a long heading {number} " in printed for number in range(12))


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"n": 1}, as_json=False, text="one thing happened")
    assert capsys.readouterr().out == "one thing happened\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.12345, "0.123"),
        (7, "7"),
        (True, "yes"),
        ("x", "x"),
        ({"a": 0.5, "b": None}, "a 0.500, b -"),
    ],
)
def test_values_as_a_person_reads_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_table_lays_out_rows_and_says_when_there_are_none() -> None:
    made = table("Cases", [{"by_site": "north", "cases": 3}, {"by_site": "south", "cases": None}])
    assert isinstance(made, Table)
    screen = io.StringIO()
    Console(file=screen, width=60).print(made)
    printed = screen.getvalue()
    assert all(word in printed for word in ("Cases", "by site", "north", "south", "3", "-"))
    assert [column.justify for column in made.columns] == ["left", "right"]
    assert table("Cases", []) == "Cases: none"


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        bar.advance(bar.add_task("reading", total=1))
    assert capsys.readouterr() == ("", "")
