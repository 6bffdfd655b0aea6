"""Which networks exist: every module in this folder is imported once and registers what it defines."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import nn

Task = Literal["segmentation", "classification"]
Size = tuple[int, int, int]
Config = TypeVar("Config")


class NetworkError(ValueError):
    """A network name or option that the registry does not know."""


@dataclass(frozen=True)
class Network:
    """One registered network.

    A segmentation network maps (n, 1, z, y, x) values in [0, 1] to logits of the same shape; a classification
    network maps (n, 2, z, y, x), region and mask, to logits (n, 1). Sizes must be multiples of `divisor`.
    """

    name: str
    task: Task
    config: type[Any]
    builder: Callable[[Any], nn.Module]
    divisor: Callable[[Any], Size]

    def configure(self, options: Mapping[str, object]) -> object:
        """Return the network's config from plain options. Raises NetworkError when one does not fit."""
        unknown = set(options) - {field.name for field in fields(self.config)}
        if unknown:
            raise NetworkError(
                f"options of network {self.name!r} do not fit: {', '.join(sorted(unknown))}: not an option"
            )
        try:
            return TypeAdapter(self.config).validate_python(dict(options))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise NetworkError(f"options of network {self.name!r} do not fit: {problems}") from error


_networks: dict[str, Network] = {}


def register(
    name: str, *, task: Task, config: type[Config], divisor: Callable[[Config], Size]
) -> Callable[[Callable[[Config], nn.Module]], Callable[[Config], nn.Module]]:
    """Register the decorated builder under `name`. Raises NetworkError when the name is taken."""

    def add(builder: Callable[[Config], nn.Module]) -> Callable[[Config], nn.Module]:
        if name in _networks:
            raise NetworkError(f"network {name!r} is registered twice")
        _networks[name] = Network(name, task, config, builder, divisor)
        return builder

    return add


@cache
def _import_all() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"rounds_models.zoo.{module.name}")


def names(task: Task | None = None) -> tuple[str, ...]:
    """Return the registered names in alphabetical order, of one task or of all."""
    _import_all()
    return tuple(sorted(n.name for n in _networks.values() if task in (None, n.task)))


def find(name: str) -> Network:
    """Return the network called `name`. Raises NetworkError that lists what there is."""
    _import_all()
    if name not in _networks:
        raise NetworkError(f"no network is called {name!r}; there are {', '.join(names())}")
    return _networks[name]


def build(name: str, options: Mapping[str, object] | None = None) -> nn.Module:
    """Build a freshly initialised network from the global random state of torch."""
    network = find(name)
    return network.builder(network.configure(options or {}))
