"""A model folder: weights.pt and model.json, which holds all that made the weights."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import monai
import numpy as np
import torch
from torch import Tensor, nn

from rounds_models import device as devices
from rounds_models import zoo
from rounds_models.recipes import Recipe, RecipeError
from rounds_models.recipes.store import parse
from rounds_models.zoo.registry import Task


class ModelError(ValueError):
    """A model folder that cannot be used."""


@dataclass(frozen=True)
class Model:
    """A trained network, ready to predict: in evaluation mode, on its device."""

    network: nn.Module
    recipe: Recipe
    threshold: float
    weights_sha256: str
    device: torch.device

    @property
    def task(self) -> Task:
        """What it was trained for."""
        return self.recipe.task


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and values: equal hashes are equal weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that decide the weights."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {**found, "monai": monai.__version__, "numpy": np.__version__}


def save(folder: Path, network: nn.Module, recipe: Recipe, facts: Mapping[str, object]) -> str:
    """Write weights.pt and model.json with `facts` (threshold, seed, log) and return the weights' hash."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: values.detach().cpu() for name, values in network.state_dict().items()}
    digest = weights_hash(weights)
    torch.save(weights, folder / "weights.pt")
    document = {
        "task": recipe.task,
        "network": recipe.network,
        "recipe": asdict(recipe),
        "weights_sha256": digest,
        "versions": versions(),
        **facts,
    }
    (folder / "model.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return digest


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weights.pt, tensors only. Raises ModelError."""
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        raise ModelError(f"{path.name} is not a readable weights file") from error
    return weights


def load(folder: Path, device: str = "auto", task: Task | None = None) -> Model:
    """Load a model folder and check its weights against their hash. Raises ModelError."""
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        recipe, expected, threshold = parse(card["recipe"]), card["weights_sha256"], float(card["threshold"])
    except (OSError, KeyError, TypeError, ValueError, RecipeError) as error:
        raise ModelError(f"{folder} is not a model folder: {error}") from error
    if task is not None and recipe.task != task:
        raise ModelError(f"{folder} holds a model for {recipe.task}, one for {task} is needed")
    weights = read_weights(folder / "weights.pt")
    if weights_hash(weights) != expected:
        raise ModelError(
            f"the weights in {folder} are not those that model.json names; train or copy it again"
        )
    network = zoo.build(recipe.network, recipe.network_options)
    network.load_state_dict(weights)
    where = devices.choose(device)
    devices.arrange(network)
    return Model(network.to(where).eval(), recipe, threshold, expected, where)
