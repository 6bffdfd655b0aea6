"""The command line of the models works on a plain folder, in a process of its own, with no service running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.unit.rounds_models.factories import data_set, write_nifti


def rounds_models(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m rounds_models` with an environment that names no service."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("ROUNDS_", "PREFECT_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "rounds_models", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("plain") / "data", {"train": 8, "val": 4, "test": 4})


def test_fit_predict_and_evaluate_from_the_command_line(folder: Path) -> None:
    out = folder.parent
    lesion, covid = out / "lesion", out / "covid"
    shared = ("--data", folder, "--seed", 1, "--threads", 1, "--json")
    fitted = rounds_models(
        "fit", *shared, "--out", lesion, "--task", "segmentation", "--recipe", "lesion_tiny"
    )
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["steps"] == 80
    fitted = rounds_models(
        "fit", *shared, "--out", covid, "--task", "classification", "--recipe", "covid_tiny"
    )
    assert fitted.returncode == 0, fitted.stderr

    image = folder / "images" / "test-0.nii.gz"
    mask = out / "mask.nii.gz"
    predicted = rounds_models("predict", "--model", lesion, "--image", image, "--out", mask, "--json")
    assert predicted.returncode == 0, predicted.stderr
    written = nib.nifti1.load(mask)  # type: ignore[no-untyped-call]
    scan = nib.nifti1.load(image)  # type: ignore[no-untyped-call]
    assert written.shape == scan.shape
    assert np.array_equal(written.affine, scan.affine)
    assert int(np.asanyarray(written.dataobj).sum()) == json.loads(predicted.stdout)["lesion_voxels"]
    probable = rounds_models("predict", "--model", covid, "--image", image, "--mask", mask, "--json")
    assert 0 <= json.loads(probable.stdout)["probability"] <= 1

    metrics = out / "metrics.json"
    judged = rounds_models(
        "evaluate", "--model", covid, "--segmentation", lesion, "--data", folder, "--out", metrics, "--json"
    )
    assert judged.returncode == 0, judged.stderr
    document = json.loads(metrics.read_text(encoding="utf-8"))
    assert document == json.loads(judged.stdout)
    assert document["cases"] == len(document["per_case"]) == 4
    assert document["dice"] > 0.2
    assert all(0 <= document[name] <= 1 for name in ("auc", "sensitivity", "specificity"))


def test_a_refusal_is_one_clear_line_and_no_traceback(folder: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "image.nii.gz", np.zeros((8, 16, 16), np.int16), (5.0, 1.0, 1.0))
    refused = rounds_models(
        "predict", "--model", tmp_path, "--image", tmp_path / "image.nii.gz", "--out", tmp_path / "m.nii.gz"
    )
    assert refused.returncode == 1
    assert "is not a model folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    wrong = rounds_models(
        "fit",
        "--data",
        folder,
        "--out",
        tmp_path / "m",
        "--task",
        "classification",
        "--recipe",
        "lesion_tiny",
    )
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == "Error: recipe lesion_tiny is for segmentation, not for classification"
    assert wrong.stdout == ""
    assert not (tmp_path / "m").exists()
