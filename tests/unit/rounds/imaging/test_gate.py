"""The geometry gate: every reason is reachable, and what is sound passes."""

import contextlib
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.unit.rounds.imaging.factories import Change, shared, slice_of, write, write_series

from rounds.imaging.gate import Limits, Verdict, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import Series, find_series
from rounds.imaging.volume import VolumeRefused, load_volume


def verdict_of(folder: Path) -> Verdict:
    (series,) = find_series(folder).series
    return examine(series)


def codes(verdict: Verdict) -> set[Reason]:
    return {one.code for one in verdict.refusals}


def setting(**values: object) -> Change:
    """Set (or, for None, delete) attributes of every slice."""

    def change(data: Dataset, index: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)

    return change


def only(wanted: Iterable[int], change: Change) -> Change:
    """Apply a change to some slices only."""

    def some(data: Dataset, index: int) -> None:
        if index in set(wanted):
            change(data, index)

    return some


def tilted_too_far(data: Dataset, index: int) -> None:
    angle = math.radians(20)
    data.ImageOrientationPatient = [1, 0, 0, 0, math.cos(angle), -math.sin(angle)]
    data.ImagePositionPatient = [-10.0, -20.0 - 0.6 * index, -300.0 + 2 * index]


def sideways(data: Dataset, index: int) -> None:
    data.ImagePositionPatient = [-10.0 + 3 * (index % 2), -20.0, -300.0 + 2 * index]


def test_a_sound_series_passes_sorted_upwards_with_its_affine(tmp_path: Path) -> None:
    verdict = verdict_of(write_series(tmp_path))
    assert verdict.refusals == ()
    (stack,) = verdict.stacks
    heights = [one.position[2] for one in stack.slices]
    assert heights == sorted(heights)
    assert stack.grid.shape == (16, 32, 48)
    assert stack.grid.spacing == (2.0, 0.8, 0.7)
    first, last = stack.grid.affine @ [0, 0, 0, 1], stack.grid.affine @ [47, 31, 15, 1]
    assert first.tolist() == [10.0, 20.0, -300.0, 1.0]
    np.testing.assert_allclose(last, [10 - 47 * 0.7, 20 - 31 * 0.8, -270, 1])


def test_rows_that_run_upside_down_still_end_with_the_highest_slice_last(tmp_path: Path) -> None:
    verdict = verdict_of(write_series(tmp_path, change=setting(ImageOrientationPatient=[1, 0, 0, 0, -1, 0])))
    (stack,) = verdict.stacks
    assert stack.slices[-1].position[2] == -270.0
    np.testing.assert_allclose(stack.grid.affine[:3, :3], np.diag([-0.7, 0.8, 2.0]))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (setting(Modality="MR"), Reason.NOT_CT),
        (setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), Reason.NOT_CT),
        (setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER),
        (setting(BurnedInAnnotation="YES"), Reason.SECONDARY_CAPTURE),
        (setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), Reason.SECONDARY_CAPTURE),
        (setting(ImageType=["DERIVED", "SECONDARY", "DOSE_INFO"]), Reason.SECONDARY_CAPTURE),
        (setting(ImageType=["DERIVED", "SECONDARY", "REFORMATTED"]), Reason.DERIVED_REFORMAT),
        (setting(NumberOfFrames="3"), Reason.MULTIFRAME),
        (setting(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), Reason.NOT_AXIAL),
        (setting(RescaleIntercept=None), Reason.MISSING_RESCALE),
        (only([3], setting(RescaleSlope=None)), Reason.MISSING_RESCALE),
        (setting(PixelSpacing=None), Reason.MISSING_GEOMETRY),
        (only([3], setting(ImagePositionPatient=None)), Reason.MISSING_GEOMETRY),
        (setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), Reason.MISSING_GEOMETRY),
        (setting(Rows=0), Reason.MISSING_GEOMETRY),
        (only([3], setting(PixelSpacing=[0.9, 0.9])), Reason.MIXED_GEOMETRY),
        (only([3], setting(FrameOfReferenceUID="1.2.3")), Reason.MIXED_GEOMETRY),
        (sideways, Reason.MIXED_GEOMETRY),
        (tilted_too_far, Reason.GANTRY_TILT),
        (setting(LossyImageCompression="01", LossyImageCompressionRatio="24"), Reason.LOSSY_COMPRESSION),
        (only([15], setting(LossyImageCompression="01")), Reason.LOSSY_COMPRESSION),
        (only([3], setting(ImagePositionPatient=[-10.0, -20.0, -296.0])), Reason.DUPLICATE_POSITION),
        (only([3], setting(ImagePositionPatient=[-10.0, -20.0, -295.9])), Reason.DUPLICATE_POSITION),
        (setting(SliceThickness="0.1"), Reason.THICKNESS_OUT_OF_RANGE),
        (setting(SliceThickness="15"), Reason.THICKNESS_OUT_OF_RANGE),
        (only([3], setting(PatientID="another")), Reason.UNCLEAR_IDENTITY),
        (setting(SeriesInstanceUID=None), Reason.UNCLEAR_IDENTITY),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(tmp_path: Path, change: Change, code: Reason) -> None:
    verdict = verdict_of(write_series(tmp_path, change=change))
    assert code in codes(verdict)
    assert verdict.stacks == ()
    for refusal in verdict.refusals:
        assert refusal.files
        for secret in ("MRN", "Muster", "1.2.826", "20200305", str(tmp_path)):
            assert secret not in refusal.sentence


def test_a_missing_slice_is_told_in_millimetres(tmp_path: Path) -> None:
    verdict = verdict_of(write_series(tmp_path, skip=frozenset({7, 8})))
    (refusal,) = verdict.refusals
    assert refusal.code is Reason.MISSING_SLICE
    assert "a step of 6.00 mm where 2.00 mm is usual" in refusal.detail


def test_few_slices_are_refused_and_the_limit_is_a_parameter(tmp_path: Path) -> None:
    (series,) = find_series(write_series(tmp_path, 5)).series
    assert codes(examine(series)) == {Reason.TOO_FEW_SLICES}
    assert examine(series, Limits(min_slices=5)).refusals == ()


def test_a_localizer_in_the_same_series_is_set_aside(tmp_path: Path) -> None:
    write_series(tmp_path)
    scout = slice_of(40)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path / "scout", scout)
    verdict = verdict_of(tmp_path)
    assert codes(verdict) == {Reason.LOCALIZER}
    assert [len(stack.slices) for stack in verdict.stacks] == [16]
    assert verdict.refusals[0].files == (tmp_path / "scout",)


def test_a_slice_that_was_sent_twice_counts_once(tmp_path: Path) -> None:
    write_series(tmp_path)
    write(tmp_path / "again", slice_of(4))
    verdict = verdict_of(tmp_path)
    assert verdict.refusals == ()
    assert [len(stack.slices) for stack in verdict.stacks] == [16]


def test_positions_rounded_by_the_scanner_neither_fail_nor_drift(tmp_path: Path) -> None:
    def rounded(data: Dataset, index: int) -> None:
        data.ImagePositionPatient = [0, 0, round(0.625 * index, 1)]

    (stack,) = verdict_of(write_series(tmp_path, 81, rounded, step=0.625)).stacks
    assert stack.grid.spacing[0] == 0.625


def test_every_reason_has_a_sentence() -> None:
    assert all(reason.sentence.endswith(".") for reason in Reason)


def test_the_two_real_chests_pass_in_order() -> None:
    verdicts = [examine(one) for one in find_series(shared("covid-ct-md")).series]
    stacks = [stack for verdict in verdicts for stack in verdict.stacks]
    assert sorted(len(stack.slices) for stack in stacks) == [131, 148]
    for stack in stacks:
        assert np.allclose(np.diff([one.position[2] for one in stack.slices]), 2.0)
        assert stack.grid.spacing[0] == 2.0
    assert [verdict.refusals for verdict in verdicts] == [(), ()]


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("dicom2nifti/failing/sliceincrement/001", Reason.MISSING_SLICE),
        ("dicom2nifti/failing/sliceincrement/002", Reason.MISSING_SLICE),
        ("dicom2nifti/failing/notavolume", Reason.DUPLICATE_POSITION),
        ("dicom2nifti/failing/sliceorientation", Reason.NOT_AXIAL),
        ("dicom2nifti/failing/slicecount", Reason.NOT_AXIAL),
        ("dcmqi/data/segmentations/ct-3slice", Reason.TOO_FEW_SLICES),
        ("dcmqi/data/segmentations/23x38x3/multiframe", Reason.TOO_FEW_SLICES),
        ("ricord1a-sag-mpr", Reason.NOT_AXIAL),
        ("dcm-qa-ct/Philips/S21570/S1000", Reason.LOCALIZER),
        ("dcm-qa-ct/Philips/S21570/S4010", Reason.SECONDARY_CAPTURE),
        ("lungmask-slices", Reason.NOT_CT),
    ],
)
def test_real_failures_hit_their_codes(folder: str, code: Reason) -> None:
    """The dicom2nifti cases that are MR are judged as if they were CT: their geometry is what is wrong."""
    (series,) = find_series(shared(folder)).series
    if folder.startswith("dicom2nifti"):
        series = Series(
            series.uid,
            tuple(
                replace(one, modality="CT", sop_class="", slope=1.0, intercept=0.0) for one in series.slices
            ),
        )
    verdict = examine(series)
    assert code in codes(verdict)
    assert verdict.stacks == ()


@pytest.mark.parametrize("folder", ["dicom-fuzz", "pydicom-testfiles", "wg04", "dcmqi"])
def test_hostile_folders_end_in_a_verdict_in_bounded_time(folder: str) -> None:
    root = shared(folder)
    start = time.monotonic()
    found = find_series(root)
    for series in found.series:
        verdict = examine(series, Limits(min_slices=2))
        assert verdict.stacks or verdict.refusals
        for stack in verdict.stacks:
            with contextlib.suppress(VolumeRefused):
                assert load_volume(stack).array.shape == stack.grid.shape
    assert time.monotonic() - start < 60
