"""The networks Rounds can train: each file here is one network with its config, found by name."""

from rounds_models.zoo.registry import Network, NetworkError, build, find, names, register

__all__ = ["Network", "NetworkError", "build", "find", "names", "register"]
