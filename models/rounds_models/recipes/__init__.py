"""How a model is trained, by name: one YAML file a recipe, read into a frozen dataclass and checked."""

from rounds_models.recipes.model import Recipe, RecipeError
from rounds_models.recipes.store import load, names

__all__ = ["Recipe", "RecipeError", "load", "names"]
