"""The page about the life of a label says what the table says, word for word."""

import re
from pathlib import Path

from rounds.labels.model import TABLE

PAGE = Path(__file__).parents[4] / "docs" / "life-of-a-label.md"


def test_page_has_the_rows_of_the_table_in_their_order() -> None:
    cells = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    assert cells == [(f"`{m.source}`", f"`{m.action}`", f"`{m.target}`", m.guard) for m in TABLE]


def test_diagram_has_the_arrows_of_the_table_and_no_other() -> None:
    drawn = re.findall(r"^ +(\w+) --> (\w+): (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert sorted(drawn) == sorted((m.source, m.target, m.action) for m in TABLE)
