"""Masks on the source grid as files: read back by parsers of the tests' own, voxel for voxel and code for code."""

import gzip
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import yaml
from pydicom.dataset import Dataset, FileDataset
from tests.unit.rounds.imaging.enhanced_scans import enhanced
from tests.unit.rounds.imaging.factories import SERIES, slice_of, write, write_series

from rounds.cases.archive import Packing, frames_of, unpack
from rounds.imaging.deid import deidentify
from rounds.imaging.gate import examine
from rounds.imaging.grid import Grid
from rounds.imaging.masks import dice, label_volumes_ml, lesion_volumes_ml
from rounds.imaging.nifti import encode_mask
from rounds.imaging.nrrd import NamedValue, encode_nrrd
from rounds.imaging.resample import READING_STEP_MM
from rounds.imaging.resample_mask import resample_mask
from rounds.imaging.seg import NoFrameOfReference, Origin, Segment, encode_seg
from rounds.imaging.series import find_series
from rounds.imaging.source import SourceUnusable, frame_headers, read_headers, source_grid
from rounds.imaging.terms import TERMS, TermMissing, term_of
from rounds.imaging.to_source import mask_to_source

KEY = bytes(range(32))
CONFIGS = Path(__file__).resolve().parents[4] / "annotation_configs"
ORIGIN = Origin("lobes", "Lung lobes", "a" * 64, "0.1.0")
COLOURS = ("#4363d8", "#e6194b")

Mask = npt.NDArray[np.uint8]


def deidentified(folder: Path, **more: Any) -> list[bytes]:
    """Return the de-identified slices of a made series, the lowest first."""
    series = find_series(write_series(folder, **more)).series[0]
    (stack,) = examine(series).stacks
    return [deidentify(one.path, KEY, "north").data for one in stack.slices]


def ellipsoids(shape: tuple[int, ...], values: Sequence[int] = (1, 2)) -> Mask:
    """Return a mask (z, y, x) with one ellipsoid a value, none of them symmetric in any axis."""
    mask = np.zeros(shape, dtype=np.uint8)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij", sparse=True)
    for index, value in enumerate(values):
        where = ((z - 0.4) / 0.25) ** 2 + ((y - 0.35) / 0.2) ** 2 + ((x - 0.25 - 0.45 * index) / 0.15) ** 2
        mask[where < 1] = value
    return mask


def segments(*values: int) -> list[Segment]:
    names = ("left upper", "right lower")
    return [
        Segment(value, name, term_of("lobes", name), colour)
        for value, name, colour in zip(values, names, COLOURS, strict=True)
    ]


def read_seg(data: bytes, headers: Sequence[FileDataset], values: Sequence[int]) -> Mask:
    """Put the frames of a DICOM SEG back onto the slices that they name, bit by bit, with nothing but pydicom."""
    seg = pydicom.dcmread(io.BytesIO(data))
    rows, columns, frames = seg.Rows, seg.Columns, int(seg.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, dtype=np.uint8), bitorder="little")
    planes = bits[: frames * rows * columns].reshape(frames, rows, columns)
    by_uid = {one.SOPInstanceUID: index for index, one in enumerate(headers)}
    mask = np.zeros((len(headers), rows, columns), dtype=np.uint8)
    (shared,) = seg.SharedFunctionalGroupsSequence  # a value that all frames share stands here instead
    for plane, group in zip(planes, seg.PerFrameFunctionalGroupsSequence, strict=True):
        where = group if "SegmentIdentificationSequence" in group else shared
        number = where.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        index = by_uid[source]
        placed = group.PlanePositionSequence[0].ImagePositionPatient
        assert placed == headers[index].ImagePositionPatient
        mask[index][plane == 1] = values[number - 1]
    return mask


def code(sequence: Sequence[Dataset]) -> tuple[str, str]:
    (item,) = sequence
    return item.CodingSchemeDesignator, item.CodeValue


def test_source_grid_is_the_one_that_the_gate_saw(tmp_path: Path) -> None:
    series = find_series(write_series(tmp_path, step=1.25)).series[0]
    (stack,) = examine(series).stacks
    found = source_grid(read_headers(deidentified(tmp_path / "again", step=1.25)))
    assert found.shape == stack.grid.shape
    assert found.spacing == pytest.approx(stack.grid.spacing)
    assert found.same_as(stack.grid, 1e-9)


def test_source_grid_of_a_tilted_gantry_leans_with_the_slices(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    for index, one in enumerate(headers):
        one.ImagePositionPatient = [-10.0, -20.0 + 0.5 * index, -300.0 + 2.0 * index]
    found = source_grid(headers)
    last = found.affine @ [0, 0, len(headers) - 1, 1]
    assert last[:3] == pytest.approx([10.0, 20.0 - 0.5 * 15, -300.0 + 2.0 * 15])
    assert found.spacing[0] == 2.0


def test_source_that_is_no_stack_of_slices_is_refused(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    with pytest.raises(SourceUnusable, match="order"):
        source_grid(headers[::-1])
    headers[3].NumberOfFrames = 4
    with pytest.raises(SourceUnusable, match="one file a slice"):
        source_grid(headers)


@pytest.mark.parametrize("values", [(1, 2), (2, 7)])
def test_seg_is_voxel_exact_and_names_what_it_shows(tmp_path: Path, values: tuple[int, int]) -> None:
    headers = read_headers(deidentified(tmp_path))
    mask = ellipsoids(source_grid(headers).shape, values)
    data = encode_seg(mask, headers, segments(*values), ORIGIN)
    assert np.array_equal(read_seg(data, headers, values), mask)

    seg = pydicom.dcmread(io.BytesIO(data))
    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")
    assert seg.StudyInstanceUID == headers[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert seg.SeriesInstanceUID != headers[0].SeriesInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    named = {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence}
    used = {one.SOPInstanceUID for one, plane in zip(headers, mask, strict=True) if plane.any()}
    assert used <= named <= {one.SOPInstanceUID for one in headers}
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [0.8, 0.7]
    first, second = seg.SegmentSequence
    assert code(first.SegmentedPropertyCategoryCodeSequence) == ("SCT", "91723000")
    assert code(first.SegmentedPropertyTypeCodeSequence) == ("SCT", "44714003")
    assert code(second.SegmentedPropertyTypeCodeSequence) == ("SCT", "266005")
    assert {one.SegmentAlgorithmType for one in (first, second)} == {"MANUAL"}


@pytest.mark.parametrize("slide", [(0.0, 0.5), (-0.35, 0.0), (0.21, -0.4)])
def test_seg_of_a_tilted_scan_lies_on_each_slice_where_that_slice_lay(
    slide: tuple[float, float], tmp_path: Path
) -> None:
    """Drawn on the upright volume, exported on slices that slide across their normal, `slide` mm (x, y) a slice."""

    def lean(data: Dataset, index: int) -> None:
        x, y = slide
        data.ImagePositionPatient = [-10.0 + x * index, -20.0 + y * index, -300.0 + 2.0 * index]

    files = deidentified(tmp_path, change=lean)
    (stack,) = examine(find_series(tmp_path).series[0]).stacks
    assert stack.tilt is not None
    drawn = ellipsoids(stack.grid.shape, (1, 2))
    headers = read_headers(files)
    source = source_grid(headers)
    moved = mask_to_source(drawn, stack.grid, source)
    data = encode_seg(moved, headers, segments(1, 2), ORIGIN)
    read = read_seg(data, headers, (1, 2))
    assert np.array_equal(read, moved)
    assert read.any(axis=(1, 2)).sum() >= 6
    for z, header in enumerate(headers):
        for value in (1, 2):
            rows, columns = np.nonzero(drawn[z] == value)
            if len(rows) < 20:
                continue
            wanted = stack.grid.affine @ [columns.mean(), rows.mean(), z, 1]
            found_rows, found_columns = np.nonzero(read[z] == value)
            x, y, height = header.ImagePositionPatient
            found = -(x + 0.7 * found_columns.mean()), -(y + 0.8 * found_rows.mean()), height
            assert found == pytest.approx(wanted[:3], abs=0.4)
            assert len(found_rows) == pytest.approx(len(rows), rel=0.2)


def test_seg_of_a_multi_frame_file_names_the_frames_that_it_shows(tmp_path: Path) -> None:
    """The file has a scout's frame in front and its slices in no order."""
    order = [int(one) for one in np.random.default_rng(5).permutation(16)]
    scans = [slice_of(0), *(slice_of(index) for index in order)]

    def change(group: Dataset, index: int) -> None:
        if index == 0:
            group.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]

    write(tmp_path / "one.dcm", enhanced(scans, change))
    (stack,) = examine(find_series(tmp_path).series[0]).stacks
    frames = [(0, one.frame or 0) for one in stack.slices]
    assert frames == [(0, order.index(index) + 1) for index in range(16)]
    packed = packed_files(stack.files, frames)
    assert frames_of(packed) == frames
    headers = read_headers(unpack(packed))
    grid = source_grid(frame_headers(headers, frames))
    assert grid.same_as(stack.grid, 1e-9)
    mask = ellipsoids(grid.shape)
    data = encode_seg(mask, headers, segments(1, 2), ORIGIN, frames)
    assert data == encode_seg(mask, read_headers(unpack(packed)), segments(1, 2), ORIGIN, frames)
    assert np.array_equal(frames_read(data, headers, frames, mask.shape), mask)


def packed_files(files: Sequence[Path], frames: list[tuple[int, int]]) -> bytes:
    """Pack de-identified files as an intake does."""
    with TemporaryFile() as file:
        packing = Packing(file)
        for path in files:
            packing.add(deidentify(path, KEY, "north").data)
        packing.close(frames)
        file.seek(0)
        return file.read()


def test_seg_of_several_multi_frame_files_names_each_ones_frames(tmp_path: Path) -> None:
    """Neighbouring slices lie in different files; two hold a single frame and say its place for all their frames."""
    parts = [[9, 2, 0, 12, 5, 7], [14, 1, 10, 3, 8, 6, 13, 11], [15], [4]]
    for number, part in enumerate(parts):
        made = enhanced([slice_of(index) for index in part], name=f"{SERIES}.{9000 + number}")
        if len(part) == 1:
            shared, own = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
            shared.PlanePositionSequence = own.PlanePositionSequence
            own.PlaneOrientationSequence, own.PixelMeasuresSequence = (
                shared.PlaneOrientationSequence,
                shared.PixelMeasuresSequence,
            )
            del own.PlanePositionSequence, shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
        write(tmp_path / f"part-{number}.dcm", made)
    (stack,) = examine(find_series(tmp_path).series[0]).stacks
    frames = [(stack.files.index(one.path), one.frame or 0) for one in stack.slices]
    assert [path.name[5] for path in stack.files] == ["0", "1", "3", "2"]  # as the slices come from below
    packed = packed_files(stack.files, frames)
    headers = read_headers(unpack(packed))
    mask = ellipsoids(source_grid(frame_headers(headers, frames)).shape)
    assert {frames[z][0] for z in np.flatnonzero(mask.any(axis=(1, 2)))} == {0, 1, 2}
    data = encode_seg(mask, headers, segments(1, 2), ORIGIN, frames)
    assert data == encode_seg(mask, read_headers(unpack(packed)), segments(1, 2), ORIGIN, frames)
    assert np.array_equal(frames_read(data, headers, frames, mask.shape), mask)
    (series,) = pydicom.dcmread(io.BytesIO(data)).ReferencedSeriesSequence
    named = [one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence]
    assert named == [one.SOPInstanceUID for one in headers]


def frames_read(
    data: bytes, sources: Sequence[Dataset], frames: list[tuple[int, int]], shape: tuple[int, ...]
) -> Mask:
    """Put the frames of a DICOM SEG back onto the sources' frames that they name, with nothing but pydicom."""
    seg = pydicom.dcmread(io.BytesIO(data))
    bits = np.unpackbits(np.frombuffer(seg.PixelData, dtype=np.uint8), bitorder="little")
    planes = bits[: int(seg.NumberOfFrames) * seg.Rows * seg.Columns].reshape(-1, seg.Rows, seg.Columns)
    (shared,) = seg.SharedFunctionalGroupsSequence  # a value that all frames share stands here instead
    place = {(sources[file].SOPInstanceUID, frame + 1): z for z, (file, frame) in enumerate(frames)}
    by_uid = {one.SOPInstanceUID: one for one in sources}
    mask = np.zeros(shape, dtype=np.uint8)
    for plane, group in zip(planes, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (named,) = group.DerivationImageSequence[0].SourceImageSequence
        source = by_uid[named.ReferencedSOPInstanceUID]
        assert named.ReferencedSOPClassUID == source.SOPClassUID
        theirs = source.PerFrameFunctionalGroupsSequence[named.ReferencedFrameNumber - 1]
        if "PlanePositionSequence" not in theirs:
            (theirs,) = source.SharedFunctionalGroupsSequence
        mine, position = group.PlanePositionSequence[0], theirs.PlanePositionSequence[0]
        assert mine.ImagePositionPatient == position.ImagePositionPatient
        where = group if "SegmentIdentificationSequence" in group else shared
        number = where.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        mask[place[source.SOPInstanceUID, named.ReferencedFrameNumber]][plane == 1] = number
    return mask


def test_seg_of_a_lesion_says_where_it_lies_and_which_model_drew_first(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    mask = ellipsoids(source_grid(headers).shape, (1,))
    lesion = [Segment(1, "lesion", term_of("lesion", "lesion"), "#e6194b")]
    origin = Origin("lesion", "Lung lesions", "b" * 64, "0.1.0", "model 3")
    (segment,) = pydicom.dcmread(io.BytesIO(encode_seg(mask, headers, lesion, origin))).SegmentSequence
    assert code(segment.SegmentedPropertyCategoryCodeSequence) == ("SCT", "49755003")
    assert code(segment.SegmentedPropertyTypeCodeSequence) == ("SCT", "52988006")
    assert code(segment.AnatomicRegionSequence) == ("SCT", "39607008")
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "model 3"


def test_seg_of_an_empty_mask_is_a_file_without_a_voxel(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    empty = np.zeros(source_grid(headers).shape, dtype=np.uint8)
    data = encode_seg(empty, headers, segments(1, 2), ORIGIN)
    assert not read_seg(data, headers, (1, 2)).any()
    assert len(pydicom.dcmread(io.BytesIO(data)).SegmentSequence) == 2


def test_seg_tells_nothing_of_the_patient_nor_of_today(tmp_path: Path) -> None:
    files = deidentified(tmp_path)
    headers = read_headers(files)
    mask = ellipsoids(source_grid(headers).shape)
    data = encode_seg(mask, headers, segments(1, 2), ORIGIN)
    assert data == encode_seg(mask, read_headers(files), segments(1, 2), ORIGIN)
    for secret in (b"Musterfrau", b"MRN-0042-XY", b"20200305", b"1.2.826.0.1.3680043.9.1000"):
        assert secret not in data
    seg = pydicom.dcmread(io.BytesIO(data))
    assert seg.PatientID == headers[0].PatientID
    assert seg.PatientIdentityRemoved == "YES"
    assert seg.DeidentificationMethodCodeSequence == headers[0].DeidentificationMethodCodeSequence
    dates = {str(one.value)[:8] for one in seg.iterall() if one.VR in {"DA", "DT"} and one.value}
    assert dates == {headers[0].StudyDate}


def test_another_mask_or_model_is_another_instance(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    mask = ellipsoids(source_grid(headers).shape)
    origins = [
        ORIGIN,
        Origin("lobes", "", "c" * 64, "0.1.0"),
        Origin("lobes", "", "a" * 64, "0.1.0", "model 3"),
    ]
    made = [pydicom.dcmread(io.BytesIO(encode_seg(mask, headers, segments(1, 2), one))) for one in origins]
    assert len({one.SOPInstanceUID for one in made}) == 3
    assert all(re.fullmatch(r"2\.25\.\d{1,39}", one.SeriesInstanceUID) for one in made)


def test_scan_with_odd_patient_fields_or_without_a_frame_of_reference(tmp_path: Path) -> None:
    headers = read_headers(deidentified(tmp_path))
    mask = ellipsoids(source_grid(headers).shape)
    for one in headers:
        one.PatientSex = "X"
        del one.StudyDate
    seg = pydicom.dcmread(io.BytesIO(encode_seg(mask, headers, segments(1, 2), ORIGIN)))
    assert (seg.PatientSex, seg.ContentDate) == ("", "19000101")
    for one in headers:
        del one.FrameOfReferenceUID
    with pytest.raises(NoFrameOfReference, match="nifti or nrrd"):
        encode_seg(mask, headers, segments(1, 2), ORIGIN)


def test_every_label_that_can_be_drawn_has_a_term_of_its_own() -> None:
    drawn = {
        (path.stem, label["name"])
        for path in CONFIGS.glob("*.yaml")
        for label in yaml.safe_load(path.read_text())["labels"]
    }
    assert drawn == set(TERMS)
    types = [term.type.value for term in TERMS.values()]
    assert len(set(types)) == len(types)
    with pytest.raises(TermMissing, match="airways"):
        term_of("airways", "trachea")


def test_nifti_is_voxel_exact_and_in_place(tmp_path: Path) -> None:
    grid = source_grid(read_headers(deidentified(tmp_path)))
    mask = ellipsoids(grid.shape)
    image = cast(Any, nibabel).Nifti1Image.from_bytes(gzip.decompress(encode_mask(mask, grid.affine)))
    assert np.array_equal(np.asarray(image.dataobj).T, mask)
    assert np.allclose(image.affine, grid.affine, atol=1e-4)


def test_nrrd_is_voxel_exact_in_place_and_named(tmp_path: Path) -> None:
    grid = source_grid(read_headers(deidentified(tmp_path)))
    mask = ellipsoids(grid.shape)
    labels = [NamedValue(1, "left upper", "#ff0000"), NamedValue(2, "right lower", "#0033ff")]
    head, _, body = encode_nrrd(mask, grid.affine, labels).partition(b"\n\n")
    magic, *lines = head.decode("ascii").splitlines()
    fields = dict(re.split(r":[= ]", line, maxsplit=1) for line in lines)
    sizes = [int(size) for size in fields["sizes"].split()]
    read = np.frombuffer(gzip.decompress(body), dtype=np.uint8).reshape(sizes, order="F")
    vectors = [
        [float(part) for part in text.split(",")] for text in re.findall(r"\(([^)]*)\)", head.decode())
    ]
    assert magic == "NRRD0005"
    assert (fields["type"], fields["encoding"]) == ("uint8", "gzip")
    assert np.array_equal(read.transpose(2, 1, 0), mask)
    assert fields["space"] == "right-anterior-superior"
    assert np.array_equal(np.array(vectors).T, grid.affine[:3])
    assert (fields["Segment1_Name"], fields["Segment1_LabelValue"]) == ("right lower", "2")
    assert fields["Segment1_Color"] == "0.000000 0.200000 1.000000"


@pytest.mark.parametrize("step", [0.625, 0.8, 1.0, 1.25, 1.5, 1.9])
@pytest.mark.parametrize("radius", [2.5, 4, 15])
def test_every_lesion_keeps_its_volume_where_slices_were_thinned(step: float, radius: float) -> None:
    source = thin_grid(step)
    reading = source.with_spacing((READING_STEP_MM, *source.spacing[1:]))
    drawn = balls(reading, radius)
    back = mask_to_source(drawn, reading, source)
    wanted = lesion_volumes_ml(drawn, reading.spacing)
    found = lesion_volumes_ml(back, source.spacing)
    assert len(found) == len(wanted) == 3
    for one, other in zip(wanted, found, strict=True):
        assert other == pytest.approx(one, rel=0.02)
    again = resample_mask(back, source, reading)
    assert dice(again, drawn) > 0.93


def test_labels_that_adjoin_stay_adjoined_and_nothing_else_appears() -> None:
    source = thin_grid(1.0)
    reading = source.with_spacing((READING_STEP_MM, *source.spacing[1:]))
    drawn = np.zeros(reading.shape, dtype=np.uint8)
    drawn[3:9, 10:40, 10:30], drawn[3:9, 10:40, 30:50] = 2, 7
    back = mask_to_source(drawn, reading, source)
    assert set(np.unique(back)) == {0, 2, 7}
    assert not (back[:, :, 30:] == 2).any()
    assert not (back[:, :, :30] == 7).any()
    middle = back[int(6 * 2.5), 15:35]
    assert (middle[:, 10:50] > 0).all()
    found, wanted = (label_volumes_ml(*one) for one in ((back, source.spacing), (drawn, reading.spacing)))
    assert found == pytest.approx(wanted, rel=0.02)


def test_mask_on_the_same_grid_comes_back_as_it_was() -> None:
    grid = thin_grid(2.5)
    drawn = balls(grid, 4)
    assert np.array_equal(mask_to_source(drawn, grid, grid), drawn)


def test_lesion_at_the_end_of_the_scan_stays_there() -> None:
    source = thin_grid(1.0)
    reading = source.with_spacing((READING_STEP_MM, *source.spacing[1:]))
    drawn = np.zeros(reading.shape, dtype=np.uint8)
    drawn[-2:, :9, :9] = 1
    back = mask_to_source(drawn, reading, source)
    assert back[-1, 0, 0] == 1
    assert back.sum() * 1.0 == pytest.approx(drawn.sum() * 2.5, rel=0.02)


def thin_grid(step: float) -> Grid:
    """Return an axial grid of 80 mm in thin slices, rows to the back and columns to the left."""
    affine = np.diag([-0.7, -0.8, step, 1.0])
    affine[:3, 3] = 20.0, 30.0, -700.0
    return Grid((round(80 / step), 60, 60), (step, 0.8, 0.7), affine)


def balls(grid: Grid, radius: float) -> Mask:
    """Return three lesions of about `radius` mm that do not touch, at places that no slice is centred on."""
    mask = np.zeros(grid.shape, dtype=np.uint8)
    z, y, x = (np.arange(size) * step for size, step in zip(grid.shape, grid.spacing, strict=True))
    small = min(radius, 5.0)
    for centre, size in (((20.3, 21, 20), radius), ((61.1, 40, 30), small), ((55.7, 10, 10), small - 0.4)):
        near = (z[:, None, None] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2 + (x - centre[2]) ** 2
        mask[near < size**2] = 1
    return mask


def test_other_commands_do_not_wait_for_what_export_and_report_need() -> None:
    slow = "{'highdicom', 'matplotlib', 'scipy', 'nibabel'}"
    code = f"import sys, rounds.cases.commands, rounds.reports; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
