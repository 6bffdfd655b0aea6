"""Several volumes in one series: parted where each is whole, refused where they are pieces of one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.unit.rounds.imaging.factories import slice_of, write

from rounds.imaging.gate import Verdict, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import find_series
from rounds.imaging.volume import load_volume

Change = Callable[[Dataset], None]


def write_pass(folder: Path, name: str, indices: range, change: Change | None = None, first: int = 0) -> None:
    """Write slices under instance UIDs and numbers of their own; `first` is the first instance number."""
    for place, index in enumerate(indices):
        data = slice_of(index)
        data.SOPInstanceUID = f"1.2.3.{len(name)}.{sum(name.encode())}.{index}"
        data.InstanceNumber = str(first + place)
        if change is not None:
            change(data)
        write(folder / f"{index:03d}{name}", data)


def setting(**values: object) -> Change:
    def change(data: Dataset) -> None:
        for keyword, value in values.items():
            setattr(data, keyword, value)

    return change


def verdict_of(folder: Path) -> Verdict:
    (series,) = find_series(folder).series
    return examine(series)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"ConvolutionKernel": "B31s"}, {"ConvolutionKernel": "B70s"}),
        ({"AcquisitionNumber": "1"}, {"AcquisitionNumber": "2"}),
        ({"TemporalPositionIdentifier": "1"}, {"TemporalPositionIdentifier": "2"}),
        ({"KVP": "80"}, {"KVP": "140"}),
        ({"PixelSpacing": [0.8, 0.7]}, {"PixelSpacing": [0.6, 0.6]}),
        ({"FrameOfReferenceUID": "1.2.3"}, {"FrameOfReferenceUID": "1.2.4"}),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}),
    ],
)
def test_two_whole_volumes_are_parted(tmp_path: Path, a: dict[str, object], b: dict[str, object]) -> None:
    write_pass(tmp_path, "a", range(16), setting(**a))
    write_pass(tmp_path, "bb", range(15), setting(**b))
    verdict = verdict_of(tmp_path)
    assert verdict.refusals == ()
    assert [len(stack.slices) for stack in verdict.stacks] == [16, 15]
    for stack, name in zip(verdict.stacks, ("a", "bb"), strict=True):
        assert {one.path.name[3:] for one in stack.slices} == {name}
        assert load_volume(stack).array[:, 0, 0].tolist() == [
            index - 1024 for index in range(len(stack.slices))
        ]


def test_two_passes_are_parted_by_their_numbers(tmp_path: Path) -> None:
    write_pass(tmp_path, "a", range(16), first=1)
    write_pass(tmp_path, "b", range(16), first=17)
    assert [len(stack.slices) for stack in verdict_of(tmp_path).stacks] == [16, 16]
    down = tmp_path / "down"
    write_pass(down, "a", range(16), first=1)
    write_pass(down, "b", range(15, -1, -1), first=17)
    assert [len(stack.slices) for stack in verdict_of(down).stacks] == [16, 16]


def test_two_kernels_of_two_phases_are_four_volumes(tmp_path: Path) -> None:
    for kernel in ("B31s", "B70s"):
        for phase in ("1", "2"):
            write_pass(
                tmp_path,
                kernel + phase,
                range(16),
                setting(ConvolutionKernel=kernel, AcquisitionNumber=phase),
            )
    assert [len(stack.slices) for stack in verdict_of(tmp_path).stacks] == [16] * 4


def test_a_series_parted_by_geometry_and_then_by_kernel(tmp_path: Path) -> None:
    for kernel in ("B31s", "B70s"):
        for size in (0.7, 0.8):
            change = setting(ConvolutionKernel=kernel, PixelSpacing=[size, size])
            write_pass(tmp_path, f"{kernel}{size}", range(16), change)
    assert [len(stack.slices) for stack in verdict_of(tmp_path).stacks] == [16] * 4


def test_slices_sent_again_under_new_names_are_not_a_second_volume(tmp_path: Path) -> None:
    write_pass(tmp_path, "a", range(16))
    for index in range(16):
        data = slice_of(index)
        data.SOPInstanceUID = f"1.2.9.{index}"
        data.InstanceNumber = str(index)
        write(tmp_path / f"again{index}", data)
    verdict = verdict_of(tmp_path)
    assert verdict.stacks == ()
    assert [one.code for one in verdict.refusals] == [Reason.DUPLICATE_POSITION]


@pytest.mark.parametrize(
    "b",
    [
        {"PixelSpacing": [0.6, 0.6]},
        {"AcquisitionNumber": "2"},
        {"PixelSpacing": [0.6, 0.6], "FrameOfReferenceUID": "1"},
    ],
)
def test_the_halves_of_a_chest_are_not_two_scans(tmp_path: Path, b: dict[str, object]) -> None:
    write_pass(tmp_path, "a", range(26), setting(AcquisitionNumber="1"))
    write_pass(tmp_path, "bb", range(25, 40), setting(**b))
    verdict = verdict_of(tmp_path)
    assert verdict.stacks == ()
    expected = Reason.MIXED_GEOMETRY if "PixelSpacing" in b else Reason.DUPLICATE_POSITION
    assert {one.code for one in verdict.refusals} == {expected}


def test_a_gap_between_two_acquisitions_stays_a_gap(tmp_path: Path) -> None:
    write_pass(tmp_path, "a", range(16), setting(AcquisitionNumber="1"))
    write_pass(tmp_path, "bb", range(18, 34), setting(AcquisitionNumber="2"))
    verdict = verdict_of(tmp_path)
    assert verdict.stacks == ()
    assert [one.code for one in verdict.refusals] == [Reason.MISSING_SLICE]


def test_one_of_two_volumes_that_lacks_a_slice_refuses_both(tmp_path: Path) -> None:
    write_pass(tmp_path, "a", range(16), setting(PixelSpacing=[0.7, 0.7]))
    write_pass(tmp_path, "bb", range(16), setting(PixelSpacing=[0.6, 0.6]))
    (tmp_path / "007bb").unlink()
    verdict = verdict_of(tmp_path)
    assert verdict.stacks == ()
    assert [(one.code, one.detail) for one in verdict.refusals] == [
        (Reason.MIXED_GEOMETRY, "pixel spacing differ")
    ]


def test_many_geometries_are_refused_at_once(tmp_path: Path) -> None:
    for index in range(40):
        write_pass(
            tmp_path, f"{index}", range(index, index + 1), setting(PixelSpacing=[0.5 + index / 50] * 2)
        )
    verdict = verdict_of(tmp_path)
    assert verdict.stacks == ()
    assert {one.code for one in verdict.refusals} == {Reason.MIXED_GEOMETRY}


@pytest.mark.parametrize(("volumes", "stacks"), [(8, 8), (9, 0), (10, 0)])
def test_more_whole_volumes_than_a_scanner_makes_are_refused(
    tmp_path: Path, volumes: int, stacks: int
) -> None:
    """The ninth group holds whatever is left, so it must never become a stack."""
    for index in range(min(volumes, 9)):
        write_pass(tmp_path, f"{index}", range(12), setting(PixelSpacing=[0.5 + index / 50] * 2))
    if volumes == 10:
        write_pass(tmp_path, "last", range(12, 24), setting(PixelSpacing=[0.9, 0.9]))
    verdict = verdict_of(tmp_path)
    assert len(verdict.stacks) == stacks
    assert {one.code for one in verdict.refusals} == (set() if stacks else {Reason.MIXED_GEOMETRY})
