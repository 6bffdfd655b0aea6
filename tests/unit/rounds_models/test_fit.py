"""Training learns, the same seed gives the same weights, and what cannot be trained on is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.rounds_models.factories import chest, data_set, entry, write_manifest

from rounds_models import model as models
from rounds_models import recipes
from rounds_models.data import TRAINING_SPACING, DataError
from rounds_models.evaluate import evaluate
from rounds_models.fit import fit
from rounds_models.model import ModelError
from rounds_models.predict import case_channels, predict_case, predict_volume

LESION = recipes.load("lesion_tiny")
COVID = recipes.load("covid_tiny")
BRIEF = replace(LESION, steps=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("data"), {"train": 8, "val": 4, "test": 8})


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A segmentation and a classification model, trained for some seconds each."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("models")
    fit(folder, out / "lesion", LESION, seed=0)
    fit(folder, out / "covid", COVID, seed=0, segmentation=out / "lesion")
    return out / "lesion", out / "covid"


def test_a_trained_pair_beats_chance(folder: Path, trained: tuple[Path, Path]) -> None:
    lesion, covid = trained
    found = evaluate(covid, folder, segmentation=lesion)
    assert (found.cases, found.cases_with_lesions, found.cases_without_lesions) == (8, 6, 2)
    assert (found.positives, found.negatives, found.masks_from) == (4, 4, "segmentation")
    assert found.dice is not None
    assert found.dice > 0.3
    assert found.auc is not None
    assert found.auc > 0.7
    assert found.auc_ci95 is not None
    assert found.auc_ci95[0] <= found.auc <= found.auc_ci95[1]
    alone = evaluate(lesion, folder)
    assert (alone.dice, alone.auc, alone.positives) == (found.dice, None, 0)
    reference = evaluate(covid, folder)
    assert (reference.dice, reference.masks_from) == (None, "reference")
    assert json.loads(json.dumps(found.document()))["per_case"][0]["id"] == "test-0"


def test_the_model_folder_tells_what_made_it(folder: Path, trained: tuple[Path, Path]) -> None:
    card = json.loads((trained[0] / "model.json").read_text(encoding="utf-8"))
    assert (card["task"], card["network"], card["seed"]) == ("segmentation", "unet_small", 0)
    assert (card["steps"], card["cases"]) == (LESION.steps, {"train": 8, "val": 4})
    assert card["threshold_from"] == "val"
    assert 0 < card["threshold"] < 1
    assert card["log"][-1]["loss"] < card["log"][0]["loss"]
    assert set(card["versions"]) == {"python", "torch", "monai", "numpy"}
    assert len(card["data_manifest_sha256"]) == len(card["weights_sha256"]) == 64
    assert "patient" not in json.dumps(card)


@pytest.mark.parametrize("recipe", [BRIEF, replace(COVID, steps=3)], ids=lambda recipe: str(recipe.task))
def test_the_same_seed_gives_the_same_weights(folder: Path, tmp_path: Path, recipe: recipes.Recipe) -> None:
    seeds = {"a": 5, "b": 5, "c": 6}
    hashes: dict[str, str] = {}
    for name, seed in seeds.items():
        torch.rand(len(hashes) + 1)
        np.random.default_rng()
        hashes[name] = fit(folder, tmp_path / name, recipe, seed).weights_sha256
    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert models.load(tmp_path / "a").weights_sha256 == hashes["a"]


def test_training_leaves_the_random_state_of_others_alone(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(folder, tmp_path / "m", BRIEF, 0)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_seconds_stop_the_training_and_progress_is_told(folder: Path, tmp_path: Path) -> None:
    told: list[float] = []
    fitted = fit(
        folder,
        tmp_path / "m",
        replace(LESION, steps=100_000),
        0,
        max_seconds=0.5,
        progress=lambda share, loss: told.append(share),
    )
    assert 1 <= fitted.steps < 1000
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_warm_start_begins_at_the_given_weights(
    folder: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    still = replace(LESION, steps=1, learning_rate=1e-12)
    warm = fit(folder, tmp_path / "m", still, 7, init=trained[0] / "weights.pt")
    before = models.read_weights(trained[0] / "weights.pt")["head.weight"]
    after = models.read_weights(warm.folder / "weights.pt")["head.weight"]
    assert torch.allclose(before, after, atol=1e-6)


def test_without_val_cases_the_threshold_is_a_half(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", {"train": 2})
    fitted = fit(folder, tmp_path / "m", BRIEF, 0)
    assert fitted.threshold == 0.5
    card = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
    assert card["threshold_from"] == "none"


def of_kind(folder: Path, kind: str) -> Path:
    write_manifest(folder, [entry(folder, f"c{n}", "train", chest(kind, n)) for n in range(2)])
    return folder


@pytest.mark.parametrize(
    ("recipe", "kind", "message"),
    [
        (BRIEF, "healthy", "none of the 2 labelled training cases has a lesion"),
        (COVID, "covid", "2 are covid and 0 are not"),
        (COVID, "healthy", "0 are covid and 2 are not"),
    ],
)
def test_data_that_teach_nothing_are_refused(
    tmp_path: Path, recipe: recipes.Recipe, kind: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fit(of_kind(tmp_path, kind), tmp_path / "m", recipe, 0)
    assert not (tmp_path / "m").exists()


def unlabelled(folder: Path, kinds: tuple[str, ...]) -> Path:
    entries = [entry(folder, f"c{n}", "test", chest(kind, n)) for n, kind in enumerate(kinds)]
    write_manifest(folder, [{**each, "mask": None} for each in entries])
    return folder


def test_a_healthy_case_without_a_mask_counts_as_free_of_lesions(
    tmp_path: Path, trained: tuple[Path, Path]
) -> None:
    found = evaluate(trained[1], unlabelled(tmp_path, ("healthy",)))
    assert (found.negatives, found.auc) == (1, None)
    assert evaluate(trained[0], tmp_path).cases_without_lesions == 1


def test_a_case_without_a_mask_needs_a_segmentation_model(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    folder = unlabelled(tmp_path, ("covid", "healthy"))
    with pytest.raises(DataError, match="case c0 has no mask; give a segmentation model"):
        evaluate(trained[1], folder)
    found = evaluate(trained[1], folder, segmentation=trained[0])
    assert (found.positives, found.negatives, found.cases_with_lesions) == (1, 1, 0)
    assert found.dice is None


def test_an_empty_split_is_refused(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="no case in split val"):
        evaluate(trained[0], data_set(tmp_path, {"train": 1}), "val")


def test_prediction_is_on_the_grid_of_the_scan(trained: tuple[Path, Path]) -> None:
    drawn = chest("covid", 2001)
    model = models.load(trained[0])
    found = predict_volume(model, drawn.image, TRAINING_SPACING)
    assert found.mask.shape == found.probability.shape == drawn.image.shape
    assert set(np.unique(found.mask)) <= {0, 1}
    assert np.array_equal(found.mask, found.probability >= model.threshold)
    with pytest.raises(DataError, match="the scan: spacing"):
        predict_volume(model, drawn.image, (2.5, 0.7, 0.7))


def test_a_case_gets_a_probability_even_with_an_empty_mask(trained: tuple[Path, Path]) -> None:
    drawn = chest("healthy", 3)
    probability = predict_case(models.load(trained[1]), drawn.image, drawn.mask, TRAINING_SPACING)
    assert 0 <= probability <= 1


def test_a_model_is_not_used_for_the_other_task(folder: Path, trained: tuple[Path, Path]) -> None:
    drawn = chest("covid", 1)
    with pytest.raises(ModelError, match="a segmentation model was given where a classification model"):
        predict_case(models.load(trained[0]), drawn.image, drawn.mask, TRAINING_SPACING)
    with pytest.raises(ModelError, match="a classification model was given where a segmentation model"):
        predict_volume(models.load(trained[1]), drawn.image, TRAINING_SPACING)
    with pytest.raises(ModelError, match="one for segmentation is needed"):
        evaluate(trained[1], folder, segmentation=trained[1])
    with pytest.raises(ModelError, match="evaluated alone"):
        evaluate(trained[0], folder, segmentation=trained[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: (m / "model.json").unlink(), "is not a model folder"),
        (lambda m: (m / "model.json").write_text("{}"), "is not a model folder"),
        (lambda m: (m / "weights.pt").write_bytes(b"x"), "not a readable weights file"),
        (lambda m: torch.save({}, m / "weights.pt"), "not those that model.json names"),
    ],
)
def test_a_spoilt_model_folder_is_refused(
    tmp_path: Path, trained: tuple[Path, Path], spoil: Callable[[Path], object], message: str
) -> None:
    for name in ("model.json", "weights.pt"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    assert models.load(tmp_path).task == "segmentation"
    spoil(tmp_path)
    with pytest.raises(ModelError, match=message):
        models.load(tmp_path)


def test_a_classification_sees_the_scan_around_the_lesions_only() -> None:
    image, mask = np.full((16, 32, 32), 350, np.int16), np.zeros((16, 32, 32), np.uint8)
    mask[8, 16, 16] = 1
    region, lesions = case_channels(image, mask, replace(COVID, surround=2))
    assert float(lesions.sum()) == 1
    assert float(region.sum()) == 5**3
    assert float(region[6:11, 14:19, 14:19].min()) == 1
    assert float(case_channels(image, np.zeros_like(mask), COVID).abs().max()) == 0


def test_a_classification_also_learns_from_the_masks_of_a_model(
    folder: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    brief = replace(COVID, steps=3)
    alone = fit(folder, tmp_path / "alone", brief, 1)
    both = fit(folder, tmp_path / "both", brief, 1, segmentation=trained[0])
    again = fit(folder, tmp_path / "again", brief, 1, segmentation=trained[0])
    assert both.weights_sha256 == again.weights_sha256 != alone.weights_sha256
    with pytest.raises(ModelError, match="one for segmentation is needed"):
        fit(folder, tmp_path / "wrong", brief, 1, segmentation=trained[1])
