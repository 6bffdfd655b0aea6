"""Where recipes lie: the YAML files beside this module, or any YAML file given by its path."""

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from rounds_models.recipes.model import Recipe, RecipeError

_FOLDER = Path(__file__).parent
_ADAPTER = TypeAdapter(Recipe)


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with Rounds."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def parse(document: object) -> Recipe:
    """Check a plain document, as YAML or `model.json` holds it. Raises RecipeError."""
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecipeError(f"recipe does not fit: {problems}") from error


def load(name: str) -> Recipe:
    """Read the recipe called `name`, or the file when `name` ends in .yaml. Raises RecipeError."""
    path = Path(name) if name.endswith(".yaml") else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(f"no recipe is called {name!r}; there are {', '.join(names())}")
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
