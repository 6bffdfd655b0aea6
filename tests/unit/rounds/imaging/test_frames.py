"""Enhanced multi-frame CT: the same volume as the classic series gives, and every lie of such a file refused."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from tests.unit.rounds.imaging.enhanced_scans import enhanced, item, volume
from tests.unit.rounds.imaging.factories import FRAME, SERIES, STUDY, shared, slice_of, write

from rounds.imaging.deid import deidentify
from rounds.imaging.dicom import Unreadable
from rounds.imaging.gate import Stack, Verdict, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.residue import Residue
from rounds.imaging.series import find_series, read_slice_header, read_slices
from rounds.imaging.volume import Volume, VolumeRefused, load_slice, load_slices, load_volume

KEY = bytes(range(32))
Spoil = Callable[[Dataset, int], None]


def scanned(count: int = 16) -> list[Dataset]:
    """Return classic slices, the lowest first, of noise with an intercept of their own each."""
    noise = np.random.default_rng(3)
    slices = [slice_of(index, noise.integers(0, 3000, (32, 48)).astype(np.int16)) for index in range(count)]
    for index, one in enumerate(slices):
        one.RescaleIntercept = str(-1024 + index)
    return slices


def judged(path: Path) -> Verdict:
    (series,) = find_series(path).series
    return examine(series)


def read(path: Path) -> Volume:
    verdict = judged(path)
    assert verdict.refusals == ()
    (stack,) = verdict.stacks
    return load_volume(stack)


def codes(verdict: Verdict) -> list[Reason]:
    return [one.code for one in verdict.refusals]


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    folder = tmp_path_factory.mktemp("classic")
    for index, one in enumerate(scanned()):
        write(folder / f"{index}.dcm", one)
    return read(folder)


def same(found: Volume, wanted: Volume) -> None:
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_array_equal(found.affine, wanted.affine)
    assert found.spacing == wanted.spacing


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
    ],
)
def test_it_is_voxel_for_voxel_the_classic_series_and_so_is_what_is_stored(
    syntax: str, classic: Volume, tmp_path: Path
) -> None:
    made = enhanced(scanned()[::-1])
    if syntax == ExplicitVRBigEndian:
        made.PixelData = np.frombuffer(made.PixelData, "<i2").astype(">i2").tobytes()
    elif syntax in {RLELossless, JPEGLSLossless}:
        write(tmp_path / "plain.dcm", made)
        made = pydicom.dcmread(tmp_path / "plain.dcm")
        made.compress(syntax)
        (tmp_path / "plain.dcm").unlink()
    path = write(tmp_path / "a" / "one.dcm", made, syntax)
    same(read(path), classic)
    done = deidentify(path, KEY, "north")
    assert Residue().find(path, done.data) == ()
    clean = tmp_path / "b" / "one.dcm"
    clean.parent.mkdir()
    clean.write_bytes(done.data)
    same(read(clean), classic)


def test_sequences_of_undefined_length_are_read_too(classic: Volume, tmp_path: Path) -> None:
    made = enhanced(scanned())
    for element in made.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
    path = write(tmp_path / "one.dcm", made)
    same(read(path), classic)
    assert path.read_bytes().count(b"\xfe\xff\xdd\xe0") > 16


def test_a_file_that_another_writer_converted_is_the_same(classic: Volume, tmp_path: Path) -> None:
    slices = scanned()
    for one in slices:
        one.PatientBirthDate = one.StudyTime = one.AccessionNumber = one.StudyID = one.PatientSex = ""
        one.ReferringPhysicianName = one.SeriesNumber = ""
        one.AcquisitionNumber = 4
        one.BodyPartExamined = "CHEST"
        write(tmp_path / "slice.dcm", one)
    made = LegacyConvertedEnhancedCTImage(slices, SERIES, 1, f"{SERIES}.77", 1)
    (tmp_path / "slice.dcm").unlink()
    made.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    same(read(tmp_path / "one.dcm"), classic)


def test_one_series_may_lie_in_several_files(classic: Volume, tmp_path: Path) -> None:
    slices = scanned()
    write(tmp_path / "a.dcm", enhanced(slices[::2], name=f"{SERIES}.1"))
    write(tmp_path / "b.dcm", enhanced(slices[1::2], name=f"{SERIES}.2"))
    write(tmp_path / "copy.dcm", enhanced(slices[1::2], name=f"{SERIES}.2"))
    same(read(tmp_path), classic)


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT1_JLSL", "CT1_JPLL", "CT1_RLE"])
@pytest.mark.parametrize("table", ["none", "basic", "extended", "split"])
def test_real_compressed_slices_give_the_same_hu_as_frames(name: str, table: str, tmp_path: Path) -> None:
    source = pydicom.dcmread(shared(f"wg04/{name}"))
    plain = load_slice(read_slice_header(shared(f"wg04/{name}")))
    frame = next(generate_frames(source.PixelData, number_of_frames=1))
    like = slice_of(0)
    for keyword in ("Rows", "Columns", "BitsStored", "HighBit", "PixelRepresentation"):
        like[keyword] = source[keyword]
    like.RescaleSlope, like.RescaleIntercept = source.RescaleSlope, source.RescaleIntercept
    made = enhanced([like] * 3)
    if "PixelPaddingValue" in source:
        made["PixelPaddingValue"] = source["PixelPaddingValue"]
    frames = [frame + bytes(len(frame) % 2)] * 3
    if table == "extended":
        data, made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        data = encapsulate(frames, 2 if table == "split" else 1, has_bot=table != "none")
    made.PixelData = data
    made["PixelData"].is_undefined_length = True
    path = write(tmp_path / "one.dcm", made, source.file_meta.TransferSyntaxUID)
    found = list(load_slices(read_slices(path)))
    assert len(found) == 3
    for one in found:
        np.testing.assert_array_equal(one, plain)


def frames_from(first: int, spoil: Spoil) -> Spoil:
    def change(group: Dataset, index: int) -> None:
        if index >= first:
            spoil(group, index)

    return change


def of_type(*kind: str, **more: str) -> Spoil:
    def change(group: Dataset, index: int) -> None:
        group.CTImageFrameTypeSequence = Items([item(FrameType=list(kind), **more)])

    return change


def without(keyword: str) -> Spoil:
    def change(group: Dataset, index: int) -> None:
        delattr(group, keyword)

    return change


def placed(*position: float) -> Spoil:
    def change(group: Dataset, index: int) -> None:
        group.PlanePositionSequence[0].ImagePositionPatient = list(position)

    return change


def in_units(unit: str) -> Spoil:
    def change(group: Dataset, index: int) -> None:
        group.PixelValueTransformationSequence[0].RescaleType = unit

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (of_type("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"), Reason.LOCALIZER),
        (of_type("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"), Reason.DERIVED_REFORMAT),
        (of_type("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"), Reason.DERIVED_REFORMAT),
        (of_type("ORIGINAL", "PRIMARY", "VOLUME", VolumetricProperties="SAMPLED"), Reason.DERIVED_REFORMAT),
        (
            of_type("ORIGINAL", "PRIMARY", "VOLUME", VolumeBasedCalculationTechnique="MPR"),
            Reason.DERIVED_REFORMAT,
        ),
        (of_type("DERIVED", "SECONDARY", "DOSE_INFO"), Reason.SECONDARY_CAPTURE),
        (frames_from(15, without("PlanePositionSequence")), Reason.MISSING_GEOMETRY),
        (frames_from(15, without("PixelValueTransformationSequence")), Reason.MISSING_RESCALE),
        (frames_from(15, in_units("MGML")), Reason.MISSING_RESCALE),
        (frames_from(15, placed(-10.0, -20.0, -299.0)), Reason.MISSING_SLICE),
        (frames_from(15, placed(-10.0, -20.0, -298.0)), Reason.DUPLICATE_POSITION),
    ],
)
def test_frames_are_judged_as_slices_are(change: Spoil, code: Reason, tmp_path: Path) -> None:
    verdict = judged(write(tmp_path / "one.dcm", volume(change=change)))
    assert code in codes(verdict)
    assert verdict.stacks == ()
    assert {path.name for one in verdict.refusals for path in one.files} == {"one.dcm"}


def test_a_scout_among_the_frames_is_set_aside_and_the_scan_is_taken(tmp_path: Path) -> None:
    change = frames_from(16, of_type("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"))
    verdict = judged(write(tmp_path / "one.dcm", volume(count=17, change=change)))
    (stack,) = verdict.stacks
    assert len(stack.slices) == 16
    (refusal,) = verdict.refusals
    assert (refusal.code, refusal.detail, refusal.count) == (Reason.LOCALIZER, "1 frame of 1 file", 1)


def told_apart(keyword: str, value: object) -> Spoil:
    """Mark the second half of the frames in what would tell them apart, and say nothing else."""

    def change(group: Dataset, index: int) -> None:
        content = group.FrameContentSequence[0]
        content.clear()
        if index >= 16:
            setattr(content, keyword, value)

    return change


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StackID", "2"),
        ("TemporalPositionIndex", 2),
        ("FrameAcquisitionNumber", 2),
        ("DimensionIndexValues", [1, 1, 2]),
    ],
)
def test_two_phases_in_one_file_are_two_volumes(keyword: str, value: object, tmp_path: Path) -> None:
    slices = [slice_of(index) for index in range(16)]
    for one in slices:
        one.RescaleIntercept = "-1000"
    both = [slice_of(index) for index in range(16)] + slices
    order = [both[index] for index in np.random.default_rng(1).permutation(32)]

    def change(group: Dataset, index: int) -> None:
        told_apart(keyword, value)(group, 16 if order[index].RescaleIntercept == "-1000" else 0)

    verdict = judged(write(tmp_path / "one.dcm", enhanced(order, change)))
    assert [len(stack.slices) for stack in verdict.stacks] == [16, 16]
    found = sorted(int(load_volume(stack).array[0, 0, 0]) for stack in verdict.stacks)
    assert found == [-1024, -1000]


@pytest.mark.parametrize("count", [0, 1, 15, 17, 65535, 2**31 - 1])
def test_a_number_of_frames_that_lies_is_refused(count: int, tmp_path: Path) -> None:
    made = volume()
    made.NumberOfFrames = count
    found = find_series(write(tmp_path / "one.dcm", made))
    assert found.series == ()
    assert [one.code for one in found.unreadable] == [Reason.UNDECODABLE]


def test_without_functional_groups_there_is_no_geometry(tmp_path: Path) -> None:
    made = volume()
    made.NumberOfFrames = 3000
    del made.PerFrameFunctionalGroupsSequence
    assert codes(judged(write(tmp_path / "one.dcm", made))) == [Reason.MISSING_GEOMETRY]


def test_geometry_beside_the_groups_is_not_believed(tmp_path: Path) -> None:
    made = volume(change=without("PlanePositionSequence"))
    made.ImagePositionPatient = [0, 0, 0]
    assert codes(judged(write(tmp_path / "one.dcm", made))) == [Reason.MISSING_GEOMETRY]


@pytest.mark.parametrize("share", [0.3, 0.97])
@pytest.mark.parametrize("packed", [False, True])
def test_pixels_of_too_few_frames_are_refused(share: float, packed: bool, tmp_path: Path) -> None:
    made = volume()
    if packed:
        write(tmp_path / "one.dcm", made)
        made = pydicom.dcmread(tmp_path / "one.dcm")
        made.compress(RLELossless)
        frames = list(generate_frames(made.PixelData, number_of_frames=16))
        made.PixelData = encapsulate(frames[: int(16 * share)])
        made["PixelData"].is_undefined_length = True
    else:
        made.PixelData = made.PixelData[: int(len(made.PixelData) * share) & ~1]
    path = write(tmp_path / "one.dcm", made, RLELossless if packed else ExplicitVRLittleEndian)
    (stack,) = judged(path).stacks
    with pytest.raises(VolumeRefused) as caught:
        load_volume(stack)
    assert caught.value.refusal.code is Reason.UNDECODABLE
    assert caught.value.refusal.files == (path,)


def test_several_frames_in_a_classic_object_are_not_read(tmp_path: Path) -> None:
    made = slice_of(0)
    made.NumberOfFrames = 2
    made.PixelData *= 2
    assert codes(judged(write(tmp_path / "one.dcm", made))) == [Reason.MULTIFRAME]


def test_nothing_of_the_patient_stays_in_functional_groups(tmp_path: Path) -> None:
    secrets = ("Erika", "Musterfrau", "MRN-0042-XY", "20200305", "1.2.826.0.1.3680043.9.1000", "8765432")

    def change(group: Dataset, index: int) -> None:
        content = group.FrameContentSequence[0]
        content.StackID = "Erika"
        content.FrameComments = "Musterfrau, Erika"
        content.FrameLabel = "MRN-0042-XY"
        content.FrameAcquisitionDateTime = "20200305101112"
        group.FrameAnatomySequence = Items([item(FrameLaterality="U", PatientComments="Musterfrau")])
        group.add_new(0x00110010, "LO", "ERIKA HOSPITAL")
        group.UnassignedPerFrameConvertedAttributesSequence = Items(
            [item(PatientID="MRN-0042-XY", AcquisitionNumber=3, OperatorsName="Musterfrau^Erika")]
        )
        group.ConversionSourceAttributesSequence = Items(
            [item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=f"{SERIES}.5")]
        )

    made = volume(change=change)
    made.SharedFunctionalGroupsSequence[0].RequestAttributesSequence = Items(
        [item(RequestedProcedureID="8765432")]
    )
    done = deidentify(write(tmp_path / "one.dcm", made), KEY, "north")
    for secret in (*secrets, FRAME, STUDY):
        assert secret.encode() not in done.data
        assert secret.upper().encode() not in done.data
    clean = pydicom.dcmread(io.BytesIO(done.data))
    group = clean.PerFrameFunctionalGroupsSequence[3]
    assert group.PlanePositionSequence[0].ImagePositionPatient == [-10, -20, -276]
    assert group.FrameContentSequence[0].DimensionIndexValues == [1, 4, 1]
    assert group.UnassignedPerFrameConvertedAttributesSequence[0].AcquisitionNumber == 3
    assert group.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID.startswith("2.25.")
    assert clean.DimensionIndexSequence[0].DimensionIndexPointer == 0x00209056
    assert (
        clean.DimensionIndexSequence[0].DimensionOrganizationUID
        == clean.DimensionOrganizationSequence[0].DimensionOrganizationUID
    )


def test_every_frame_loses_the_comments_in_its_compressed_image(tmp_path: Path) -> None:
    source = pydicom.dcmread(shared("wg04/CT1_JPLL"))
    frame = next(generate_frames(source.PixelData, number_of_frames=1))
    noted = frame[:2] + b"\xff\xfe\x00\x0cMusterfrau" + frame[2:]
    noted += bytes(len(noted) % 2)
    like = slice_of(0)
    for keyword in ("Rows", "Columns", "BitsStored", "HighBit", "PixelRepresentation"):
        like[keyword] = source[keyword]
    made = enhanced([like] * 3)
    made.PixelData = encapsulate([noted] * 3)
    made["PixelData"].is_undefined_length = True
    path = write(tmp_path / "one.dcm", made, source.file_meta.TransferSyntaxUID)
    assert path.read_bytes().count(b"Musterfrau") == 4
    done = deidentify(path, KEY, "north")
    assert b"Musterfrau" not in done.data
    before = list(load_slices(read_slices(path)))
    path.write_bytes(done.data)
    for one, other in zip(before, load_slices(read_slices(path)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("width", ["23x38x3", "24x38x3"])
def test_real_converted_files_are_read_and_refused_only_for_being_short(width: str) -> None:
    folder = shared(f"dcmqi/data/segmentations/{width}/multiframe")
    verdict = judged(folder)
    assert codes(verdict) == [Reason.TOO_FEW_SLICES]
    (series,) = find_series(folder).series
    heights = [one.position[2] for one in series.slices]
    assert heights == [-177.75, -175.25, -172.75]
    raw = pydicom.dcmread(series.slices[0].path).pixel_array
    np.testing.assert_array_equal(np.stack(list(load_slices(series.slices))), raw)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm", volume())
    with path.open("r+b") as file:
        file.truncate(600 * 2**20)
    with pytest.raises(Unreadable):
        read_slices(path)


def stack_of(path: Path) -> Stack:
    (stack,) = judged(path).stacks
    return stack


def test_a_frame_beyond_the_file_is_refused(tmp_path: Path) -> None:
    stack = stack_of(write(tmp_path / "one.dcm", volume()))
    write(tmp_path / "one.dcm", volume(count=12))
    with pytest.raises(VolumeRefused):
        load_volume(stack)
