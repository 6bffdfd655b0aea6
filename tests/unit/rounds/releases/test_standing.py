"""Which model version stands after promotions and rollbacks."""

import pytest

from rounds.releases.model import Kind, standing


@pytest.mark.parametrize(
    ("log", "pile"),
    [
        ([], ()),
        ([("promote", 1)], (1,)),
        ([("promote", 1), ("promote", 2)], (1, 2)),
        ([("promote", 1), ("promote", 2), ("rollback", 2)], (1,)),
        ([("promote", 1), ("promote", 2), ("rollback", 2), ("promote", 3)], (1, 3)),
        ([("promote", 1), ("promote", 2), ("promote", 1), ("rollback", 1)], (1, 2)),
        ([("promote", 1), ("rollback", 1), ("rollback", 1), ("promote", 2)], (2,)),
    ],
)
def test_standing(log: list[tuple[Kind, int]], pile: tuple[int, ...]) -> None:
    assert standing(log) == pile
