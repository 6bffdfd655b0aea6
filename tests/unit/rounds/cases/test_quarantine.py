"""What a release changes before the gate looks again, what it can never change, and what is kept of a scan."""

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.unit.rounds.imaging.enhanced_scans import volume
from tests.unit.rounds.imaging.factories import write, write_series

from rounds.cases import vault
from rounds.cases.quarantine import sentence
from rounds.cases.waivers import WAIVERS, by_code, delivered, facts, more_than_before, releasable, waive
from rounds.imaging.gate import examine
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.series import Series, find_series

Change = Callable[[Dataset, int], None]


def series_of(folder: Path, count: int = 16, change: Change | None = None, step: float = 2.0) -> Series:
    write_series(folder, count, change, step)
    return find_series(folder).series[0]


def setting(**values: object) -> Change:
    def change(data: Dataset, _: int) -> None:
        for keyword, value in values.items():
            setattr(data, keyword, value)

    return change


OVER = [
    (Reason.TOO_FEW_SLICES, 8, None, 2.0),
    (Reason.THICKNESS_OUT_OF_RANGE, 16, setting(SliceThickness="14"), 14.0),
    (Reason.THICKNESS_OUT_OF_RANGE, 16, setting(SliceThickness="0.1"), 0.1),
    (Reason.SECONDARY_CAPTURE, 16, setting(BurnedInAnnotation="YES"), 2.0),
    (Reason.SECONDARY_CAPTURE, 16, setting(ImageType=["DERIVED", "SECONDARY"]), 2.0),
    (Reason.DERIVED_REFORMAT, 16, setting(ImageType=["DERIVED", "SECONDARY", "AXIAL"]), 2.0),
]


def test_frames_of_one_file_count_as_slices(tmp_path: Path) -> None:
    """A scout among them does not, and a series that is a case is known to have more frames now in as many files."""

    def scout(group: Dataset, index: int) -> None:
        if index == 16:
            group.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]

    path = write(tmp_path / "one.dcm", volume(count=17, change=scout))
    (series,) = find_series(tmp_path).series
    verdict = examine(series)
    assert delivered(series, verdict) == 16
    assert more_than_before(series, verdict, 16) is None
    more = more_than_before(series, verdict, 12)
    assert more is not None
    assert (more.files, more.count) == ((path,), 16)
    (joined,) = by_code([more, more])
    assert (joined.files, joined.count) == ((path,), 16)
    assert facts(series.slices)["length along the body, mm"] == "32.0"


@pytest.mark.parametrize("reformatted", [False, True])
def test_a_release_lets_derived_frames_in(reformatted: bool, tmp_path: Path) -> None:
    def derived(group: Dataset, index: int) -> None:
        kind = group.CTImageFrameTypeSequence[0]
        if reformatted:
            kind.VolumeBasedCalculationTechnique = "MPR"
        else:
            kind.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]

    write(tmp_path / "one.dcm", volume(change=derived))
    (series,) = find_series(tmp_path).series
    assert [one.code for one in examine(series).refusals] == [Reason.DERIVED_REFORMAT]
    (stack,) = examine(*waive(series, [Reason.DERIVED_REFORMAT])).stacks
    assert len(stack.slices) == 16


@pytest.mark.parametrize(("code", "count", "change", "step"), OVER)
def test_a_released_reason_is_set_aside_and_geometry_stays(
    tmp_path: Path, code: Reason, count: int, change: Change | None, step: float
) -> None:
    series = series_of(tmp_path, count, change, step)
    assert {one.code for one in examine(series).refusals} == {code}
    verdict = examine(*waive(series, [code]))
    assert verdict.refusals == ()
    assert verdict.stacks[0].grid.shape == (count, 32, 48)
    assert verdict.stacks[0].grid.spacing == pytest.approx((step, 0.8, 0.7))


def test_another_reason_still_stands(tmp_path: Path) -> None:
    series = series_of(tmp_path, 8, setting(SliceThickness="14"), 14.0)
    few = examine(*waive(series, [Reason.THICKNESS_OUT_OF_RANGE]))
    assert [one.code for one in few.refusals] == [Reason.TOO_FEW_SLICES]
    thick = examine(*waive(series, [Reason.TOO_FEW_SLICES, Reason.SECONDARY_CAPTURE]))
    assert [one.code for one in thick.refusals] == [Reason.THICKNESS_OUT_OF_RANGE]
    assert examine(*waive(series, [Reason.TOO_FEW_SLICES, Reason.THICKNESS_OUT_OF_RANGE])).stacks


def test_a_release_over_burned_in_text_lets_no_scout_and_no_other_modality_in(tmp_path: Path) -> None:
    scout = setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], BurnedInAnnotation="YES")
    series = series_of(tmp_path / "scout", 16, scout)
    assert [one.code for one in examine(*waive(series, list(WAIVERS))).refusals] == [Reason.LOCALIZER]
    series = series_of(tmp_path / "mr", 16, setting(Modality="MR", BurnedInAnnotation="YES"))
    assert [one.code for one in examine(*waive(series, list(WAIVERS))).refusals] == [Reason.NOT_CT]


@pytest.mark.parametrize(
    "code",
    [
        Reason.UNDECODABLE,
        Reason.NOT_CT,
        Reason.MISSING_GEOMETRY,
        Reason.UNCLEAR_IDENTITY,
        Reason.MISSING_SLICE,
        Reason.MISSING_RESCALE,
        Reason.MIXED_GEOMETRY,
        Reason.GANTRY_TILT,
        Reason.UNSAFE_ARCHIVE,
    ],
)
def test_what_would_make_a_wrong_volume_is_never_released(code: Reason) -> None:
    assert not releasable(code)


def test_a_reason_that_no_waiver_knows_changes_nothing(tmp_path: Path) -> None:
    series = series_of(tmp_path, 8)
    assert examine(*waive(series, ["undecodable", "of_tomorrow"])) == examine(series)
    assert not releasable("of_tomorrow")
    assert sentence("of_tomorrow") == "of tomorrow"


def test_more_slices_than_before_are_noticed_and_copies_are_not(tmp_path: Path) -> None:
    series = series_of(tmp_path, 16)
    assert more_than_before(series, examine(series), 16) is None
    refusal = more_than_before(series, examine(series), 14)
    assert refusal is not None
    assert (refusal.code, refusal.detail) == (
        Reason.MORE_SLICES_THAN_BEFORE,
        "16 slices now, 14 when it became a case",
    )
    for path in list(tmp_path.iterdir()):
        shutil.copy(path, tmp_path / f"{path.name}-again")
    twice = find_series(tmp_path).series[0]
    assert len(twice.slices) == 32
    assert more_than_before(twice, examine(twice), 16) is None


def test_screens_that_were_left_out_before_are_not_more_slices(tmp_path: Path) -> None:
    def one_screen(data: Dataset, index: int) -> None:
        if index == 15:
            data.BurnedInAnnotation = "YES"

    series = series_of(tmp_path, 16, one_screen)
    assert more_than_before(series, examine(series), 15) is None
    assert more_than_before(series, examine(series), 14) is not None


def test_late_slices_with_a_gap_are_noticed_too(tmp_path: Path) -> None:
    write_series(tmp_path, 20, skip=frozenset({15, 16}))
    series = find_series(tmp_path).series[0]
    assert examine(series).stacks == ()
    assert more_than_before(series, examine(series), 15) is not None


def test_refusals_of_one_code_are_one_entry() -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    joined = by_code(
        [
            Refusal(Reason.SECONDARY_CAPTURE, "a screen, 1 file", (a,)),
            Refusal(Reason.LOCALIZER, "", (c,)),
            Refusal(Reason.SECONDARY_CAPTURE, "text, 2 files", (a, b)),
        ]
    )
    assert joined == [
        Refusal(Reason.SECONDARY_CAPTURE, "a screen, 1 file; text, 2 files", (a, b)),
        Refusal(Reason.LOCALIZER, "", (c,)),
    ]


def test_facts_are_numbers_only(tmp_path: Path) -> None:
    words = setting(
        Manufacturer="SMITH", PatientID="SMITH", BodyPartExamined="SMITH", StudyDescription="SMITH"
    )
    told = facts(series_of(tmp_path, 16, words).slices)
    assert told == {
        "pixels": "48 × 32",
        "pixel spacing, mm": "0.8 × 0.7",
        "slice thickness, mm": "2",
        "length along the body, mm": "30.0",
    }


def test_a_private_copy_outlives_the_originals(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "SMITH"
    home.mkdir()
    series = series_of(folder, 12)
    vault.keep(home, 7, series.files[:3], series.files)
    shutil.rmtree(folder)
    kept = vault.look(home, 7)
    assert kept is not None
    assert kept.names == tuple(str(path) for path in series.files[:3])
    assert list(kept.copies.values()) == [str(path) for path in series.files]
    assert len(find_series(home / "quarantine" / "7").series[0].slices) == 12
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (home / "quarantine").rglob("*")}
    assert modes == {0o700, 0o600}
    assert not any("SMITH" in str(path) for path in (home / "quarantine").rglob("*"))
    vault.forget(home, 7)
    assert list((home / "quarantine").iterdir()) == []
    assert vault.look(home, 7) is None


def test_keeping_again_changes_nothing_until_more_files_come(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    series = series_of(tmp_path / "in", 12)
    vault.keep(home, 1, series.files[:11], series.files[:11])
    first = (home / "quarantine" / "1" / "names.json").stat().st_ino
    vault.keep(home, 1, series.files[:11], series.files[:11])
    assert (home / "quarantine" / "1" / "names.json").stat().st_ino == first
    vault.keep(home, 1, series.files, series.files)
    kept = vault.look(home, 1)
    assert kept is not None
    assert len(kept.copies) == 12


def test_a_second_reason_costs_no_second_copy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    series = series_of(tmp_path / "in", 12)
    vault.keep(home, 1, series.files, series.files)
    first = vault.look(home, 1)
    assert first is not None
    vault.keep(home, 2, list(first.copies), list(first.copies), lambda path: first.copies[path])
    second = vault.look(home, 2)
    assert second is not None
    assert {path.stat().st_ino for path in second.copies} == {path.stat().st_ino for path in first.copies}
    assert second.names == first.names
    vault.forget(home, 1)
    assert all(path.stat().st_size for path in second.copies)


def test_without_room_the_names_are_kept_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    series = series_of(tmp_path / "in", 12)
    monkeypatch.setattr(vault, "SPARE_BYTES", 2**60)
    vault.keep(home, 1, series.files, series.files)
    kept = vault.look(home, 1)
    assert kept is not None
    assert (len(kept.names), kept.copies) == (12, {})
    assert set(json.loads((home / "quarantine" / "1" / "names.json").read_text())) == {"refused", "copied"}


def test_files_that_vanish_while_they_are_copied_leave_no_half_copy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    series = series_of(tmp_path / "in", 12)
    series.files[5].unlink()
    vault.keep(home, 1, series.files, series.files)
    kept = vault.look(home, 1)
    assert kept is not None
    assert kept.copies == {}
    assert [path.name for path in (home / "quarantine").iterdir()] == ["1"]
