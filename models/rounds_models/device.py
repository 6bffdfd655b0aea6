"""Where the numbers are crunched, and how the same seed gives the same weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import convert_conv3d_weight_memory_format

CHOICES = ("auto", "cpu", "cuda")


def choose(name: str = "auto") -> torch.device:
    """Return the GPU when there is one and `name` is auto, else what was asked. Raises ValueError."""
    if name not in CHOICES:
        raise ValueError(f"no device is called {name!r}; there are {', '.join(CHOICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("a GPU was asked for and this machine has none that torch can use")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def arrange(network: nn.Module) -> None:
    """Keep the weights of 3-D convolutions with channels last, as a CPU wants them."""
    convert_conv3d_weight_memory_format(network, torch.channels_last_3d)


@contextmanager
def deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch and refuse what varies from run to run, inside the block only.

    On a GPU some interpolations have no deterministic backward; they warn there instead.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
