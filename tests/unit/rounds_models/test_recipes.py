"""Recipes come by name, contradictions are refused, and model.json's copy reads back as the same recipe."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rounds_models import recipes
from rounds_models.recipes import RecipeError
from rounds_models.recipes.store import parse


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_reads_and_survives_json(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.version >= 1
    assert recipe.window == (-1024, 350)
    assert parse(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_the_foundation_recipes_are_there() -> None:
    assert {"lesion_small", "covid_small", "lesion_tiny", "covid_tiny"} <= set(recipes.names())


def test_a_recipe_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    text = (
        "{name: mine, version: 3, task: segmentation, network: unet_small, "
        "patch: [16, 32, 32], steps: 5, batch: 1}"
    )
    (tmp_path / "mine.yaml").write_text(text.replace("patch", "\n patch"), encoding="utf-8")
    recipe = recipes.load(str(tmp_path / "mine.yaml"))
    assert (recipe.name, recipe.patch, recipe.learning_rate, recipe.weight_decay) == (
        "mine",
        (16, 32, 32),
        1e-4,
        5e-4,
    )


def test_an_unknown_recipe_is_refused_with_the_list() -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called 'huge'.*lesion_small"):
        recipes.load("huge")


def test_contradictions_are_refused() -> None:
    recipe = recipes.load("lesion_tiny")
    with pytest.raises(RecipeError, match="multiple of"):
        replace(recipe, patch=(16, 48, 50))
    with pytest.raises(RecipeError, match=r"is for segmentation, resnet_small for classification"):
        replace(recipe, network="resnet_small")
    with pytest.raises(RecipeError, match="must be positive"):
        replace(recipe, window=(350, -1024))
    with pytest.raises(RecipeError, match="flip_axes"):
        replace(recipe, flip_axes=(3,))


def test_steps_grow_with_the_cases_from_a_floor() -> None:
    recipe = replace(recipes.load("lesion_tiny"), steps=60, steps_per_case=8.0)
    assert [recipe.steps_for(cases) for cases in (1, 7, 8, 30)] == [60, 60, 64, 240]
    assert replace(recipe, steps_per_case=0.0).steps_for(1000) == 60
    with pytest.raises(RecipeError, match="steps_per_case"):
        replace(recipe, steps_per_case=-1.0)


def test_a_misspelt_field_is_refused() -> None:
    document = {**asdict(recipes.load("lesion_tiny")), "learning_rat": 1}
    with pytest.raises(RecipeError, match="learning_rat"):
        parse(document)
