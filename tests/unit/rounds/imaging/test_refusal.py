"""The reasons: each has a sentence, and the page that explains them lists exactly these."""

import re
from pathlib import Path

import pytest

from rounds.imaging.gate import LIMITS
from rounds.imaging.refusal import Reason, Refusal

PAGE = Path(__file__).parents[4] / "docs" / "ingest.md"


def rows() -> dict[str, tuple[str, str]]:
    found = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == len({code for code, _, _ in found}), "a reason stands there twice"
    return {code: (meaning, advice) for code, meaning, advice in found}


def test_the_page_lists_the_reasons_that_there_are() -> None:
    assert set(rows()) == {str(code) for code in Reason}


def test_the_page_and_the_gate_have_the_same_limits() -> None:
    page = rows()
    assert f"fewer than {LIMITS.min_slices} slices" in page["too_few_slices"][0]
    assert f"{LIMITS.min_thickness} to {LIMITS.max_thickness:.0f} mm" in page["thickness_out_of_range"][0]
    assert f"{LIMITS.max_tilt_degrees} degrees" in page["gantry_tilt"][0]
    assert f"{LIMITS.max_lossy_ratio:.0f}:1" in page["lossy_compression"][0]
    assert f"{LIMITS.axial_degrees:.0f} degrees" in page["not_axial"][0]


@pytest.mark.parametrize("code", list(Reason))
def test_a_technician_reads_one_sentence(code: Reason) -> None:
    assert re.fullmatch(r"[A-Z][^.]+(\.)?", code.sentence)
    assert Refusal(code, "7 mm", ()).sentence == f"{code.sentence} (7 mm)"
