"""What the plain-folder data set refuses, and how its files read."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.unit.rounds_models.factories import chest, data_set, entry, write_manifest, write_nifti

from rounds_models.data import DataError, read_data_set, read_image, read_mask, write_mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data_set(tmp_path / "data", {"train": 2, "test": 1}, shape=(8, 24, 32))


def change(folder: Path, edit: Callable[[dict[str, object]], None]) -> None:
    """Edit the manifest's first case."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document["cases"][0])
    path.write_text(json.dumps(document), encoding="utf-8")


def test_cases_come_by_split_and_in_order(folder: Path) -> None:
    found = read_data_set(folder)
    assert [case.id for case in found.split("train")] == ["train-0", "train-1"]
    assert [case.id for case in found.split("test")] == ["test-0"]
    assert found.split("val") == ()
    assert len(found.sha256) == 64


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    drawn = chest("covid", 0, (8, 24, 32))
    entries = [
        entry(tmp_path, "a", "train", drawn, "p-1"),
        entry(tmp_path, "b", "test", drawn, "p-1"),
        entry(tmp_path, "c", "train", drawn, "p-2"),
    ]
    write_manifest(tmp_path, entries)
    with pytest.raises(DataError, match=r"1 patient\(s\) .*p-1 in train and test"):
        read_data_set(tmp_path)
    write_manifest(tmp_path, [entries[0], entries[2]])
    assert len(read_data_set(tmp_path).cases) == 2


def test_two_cases_of_a_patient_in_one_split_are_fine(tmp_path: Path) -> None:
    drawn = chest("covid", 0, (8, 24, 32))
    write_manifest(tmp_path, [entry(tmp_path, name, "train", drawn, "p-1") for name in "ab"])
    assert len(read_data_set(tmp_path).split("train")) == 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda case: case.update(split="testing"), "manifest.json does not fit"),
        (lambda case: case.update(diagnosis="flu"), "manifest.json does not fit"),
        (
            lambda case: case.update(image="images/none.nii.gz"),
            "train-0: images/none.nii.gz is in the manifest",
        ),
        (lambda case: case.update(image="../outside.nii.gz"), "train-0: a file lies outside"),
        (lambda case: case.update(mask="/etc/hostname"), "train-0: a file lies outside"),
        (lambda case: case.update(id="train-1"), "case train-1 is in the manifest 2 times"),
    ],
)
def test_a_bad_manifest_is_refused(
    folder: Path, edit: Callable[[dict[str, object]], None], message: str
) -> None:
    change(folder, edit)
    with pytest.raises(DataError, match=message):
        read_data_set(folder)


def test_another_grid_is_refused(folder: Path, tmp_path: Path) -> None:
    write_manifest(folder, [], spacing=(5.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"spacing of \(5.0, 1.0, 1.0\)"):
        read_data_set(folder)
    path = tmp_path / "image.nii.gz"
    write_nifti(path, np.zeros((4, 5, 6), np.int16), (2.5, 0.7, 0.7))
    with pytest.raises(DataError, match=r"case a: spacing is \(2.5, 0.7, 0.7\)"):
        read_image(path, "case a")


def test_a_folder_without_manifest_or_with_a_broken_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no manifest"):
        read_data_set(tmp_path)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="does not fit"):
        read_data_set(tmp_path)


def test_axes_and_values_survive_the_file(tmp_path: Path) -> None:
    image = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4) - 900
    write_nifti(tmp_path / "image.nii.gz", image)
    read, affine = read_image(tmp_path / "image.nii.gz", "case a")
    assert read.dtype == np.int16
    assert np.array_equal(read, image)
    mask = (image > -890).astype(np.uint8)
    write_mask(tmp_path / "out" / "mask.nii.gz", mask, affine)
    assert np.array_equal(read_mask(tmp_path / "out" / "mask.nii.gz", image.shape, "case a"), mask)


def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    write_nifti(path, np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(
        DataError, match=r"case a: the mask has shape \(4, 5, 6\) \(z, y, x\), its image \(4, 5, 7\)"
    ):
        read_mask(path, (4, 5, 7), "case a")
    ringing = np.zeros((4, 5, 6), np.float32)
    ringing[1, 1, 1] = 0.3
    write_nifti(path, ringing)
    with pytest.raises(DataError, match="case a: the mask holds values that are not whole labels"):
        read_mask(path, (4, 5, 6), "case a")
    for value in (-1, 256):
        write_nifti(path, np.full((4, 5, 6), value, np.int16))
        with pytest.raises(DataError, match="not whole labels"):
            read_mask(path, (4, 5, 6), "case a")


def test_whole_labels_in_a_float_file_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    write_nifti(path, np.full((4, 5, 6), 2, np.float32))
    assert (read_mask(path, (4, 5, 6), "case a") == 2).all()


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    path.write_bytes(b"not an image")
    with pytest.raises(DataError, match="case a: not a readable NIfTI file"):
        read_image(path, "case a")
    write_nifti(path, np.zeros((4, 5, 6), np.int16))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="case a: not a readable NIfTI file"):
        read_image(path, "case a")


def test_a_spline_resampled_lung_mask_is_refused(tmp_path: Path) -> None:
    source = Path(__file__).parents[4] / "shared" / "data" / "imlab-lung-3d" / "id001-128x128x64-msk.nii.gz"
    if not source.is_file():
        pytest.skip("the shared imaging data is not here")
    values = np.asanyarray(nib.nifti1.load(source).dataobj).transpose(2, 1, 0)  # type: ignore[no-untyped-call]
    write_nifti(tmp_path / "mask.nii.gz", values)
    with pytest.raises(DataError, match="the lung mask: the mask holds values that are not whole labels"):
        read_mask(tmp_path / "mask.nii.gz", values.shape, "the lung mask")
