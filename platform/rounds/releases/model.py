"""Which model version stands: promotions pile up, a rollback takes the last one off."""

from collections.abc import Iterable
from typing import Literal

Kind = Literal["promote", "rollback"]


class NothingToRollBack(Exception):
    """No model version stands, or none stood before it."""


def standing(log: Iterable[tuple[Kind, int]]) -> tuple[int, ...]:
    """Return the pile of promoted model versions after the log; the last one stands."""
    pile: list[int] = []
    for kind, model in log:
        if kind == "promote":
            pile.append(model)
        elif pile:
            pile.pop()
    return tuple(pile)
