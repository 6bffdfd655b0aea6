"""The embedded stack: start what is missing, tell how each part is, stop what was started."""

from rounds.stack.health import PartFailed
from rounds.stack.lifecycle import PartStatus, down, status, up

__all__ = ["PartFailed", "PartStatus", "down", "status", "up"]
