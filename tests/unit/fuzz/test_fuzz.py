"""The fuzzer itself: a short run that is the same every time finds nothing, and what there is to find is kept."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.fuzz.judge import Tally
from tests.fuzz.run import fuzz
from tests.fuzz.seeds import make_seeds
from tests.fuzz.watch import Watch

EXECUTIONS = 1000

needs_fuzzer = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris has no wheel for this machine"
)


def test_it_begins_with_files_of_every_kind_that_are_whole(tmp_path: Path) -> None:
    """A seed that is refused at once teaches nothing of what comes after."""
    tally = Tally()
    seeds = make_seeds(tmp_path / "seeds")
    for path in seeds:
        tally.judge(path, tmp_path)
    known = {name: count for name, count in tally.outcomes.items() if count}
    assert known == {"volume": len(seeds) - 4, "localizer": 1, "directory": 1, "too_few_slices": 4}


@needs_fuzzer
def test_mutants_end_in_a_volume_or_a_refusal(tmp_path: Path) -> None:
    """It reaches what lies behind the gate as well, and learns from what it reaches."""
    report = fuzz(tmp_path, executions=EXECUTIONS, real=False)
    assert report.findings == []
    assert report.executions == EXECUTIONS
    assert {"volume", "undecodable", "not_dicom", "directory", "missing_geometry"} <= set(report.outcomes)
    assert report.edges > 2000
    assert report.corpus > len(list((tmp_path / "seeds").glob("*")))
    assert report.slowest_s < 10
    assert report.peak_mb < 700


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    (tmp_path / "findings").mkdir()
    made = Watch(tmp_path, 1e9, 100)

    def judge(path: Path, home: Path) -> float:
        data = path.read_bytes()
        if data.startswith(b"number"):
            return float(int(data[6:]))
        return float(data[5:] == b"slow") * 11

    monkeypatch.setattr(made.tally, "judge", judge)
    return made


def test_what_is_found_is_kept_once_for_every_place(watch: Watch, tmp_path: Path) -> None:
    for data in (b"numberX", b"fine", b"numberY", b"very slow", b"very slow", b"number3"):
        watch.judge(data)
    found = {path.name.split("-")[0]: path for path in (tmp_path / "findings").iterdir() if not path.suffix}
    assert {kind: path.read_bytes() for kind, path in found.items()} == {
        "exception": b"numberX",
        "slow": b"very slow",
    }
    assert "invalid literal" in found["exception"].with_suffix(".txt").read_text()
    assert found["slow"].with_suffix(".txt").read_text() == "11.0 s"
