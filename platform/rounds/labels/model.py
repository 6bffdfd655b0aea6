"""The life of a label: the one table of legal moves; diagrams, buttons and the database's guard come from it."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where a label stands."""

    READY = "ready"
    ANNOTATING = "annotating"
    CHECKING = "checking"
    REVISING = "revising"
    PASSED = "passed"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What moves a label."""

    ASSIGN = "assign"
    SUBMIT = "submit"
    PASS = "pass"  # noqa: S105 (a verdict, no password)
    FAIL = "fail"
    FAIL_AUDIT = "fail_audit"
    REJECT = "reject"
    ACCEPT = "accept"
    WITHDRAW = "withdraw"


class IllegalMove(Exception):
    """The label is not where this action starts, or a guard refuses it."""


@dataclass(frozen=True)
class Move:
    """One row of the table."""

    source: Stage
    action: Action
    target: Stage
    guard: str


TABLE = (
    Move(Stage.READY, Action.ASSIGN, Stage.ANNOTATING, "the annotator is in Group A"),
    Move(Stage.ANNOTATING, Action.SUBMIT, Stage.CHECKING, "a new revision by the assignee"),
    Move(Stage.CHECKING, Action.PASS, Stage.PASSED, "both checkers passed this revision, independently"),
    Move(Stage.CHECKING, Action.FAIL, Stage.REVISING, "every verdict is in and at least one failed"),
    Move(Stage.REVISING, Action.SUBMIT, Stage.CHECKING, "a new revision by the assignee"),
    Move(Stage.PASSED, Action.FAIL_AUDIT, Stage.REVISING, "drawn, and failed by a senior"),
    Move(Stage.PASSED, Action.REJECT, Stage.CHECKING, "its batch was rejected"),
    Move(Stage.PASSED, Action.ACCEPT, Stage.ACCEPTED, "its batch was passed"),
    Move(Stage.READY, Action.WITHDRAW, Stage.WITHDRAWN, "a reason is given"),
    Move(Stage.ANNOTATING, Action.WITHDRAW, Stage.WITHDRAWN, "a reason is given"),
    Move(Stage.CHECKING, Action.WITHDRAW, Stage.WITHDRAWN, "a reason is given"),
    Move(Stage.REVISING, Action.WITHDRAW, Stage.WITHDRAWN, "a reason is given"),
    Move(Stage.PASSED, Action.WITHDRAW, Stage.WITHDRAWN, "a reason is given"),
    Move(
        Stage.ACCEPTED,
        Action.WITHDRAW,
        Stage.WITHDRAWN,
        "a reason is given; old dataset versions still name it",
    ),
)

_TARGETS = {(move.source, move.action): move.target for move in TABLE}


def target(source: Stage, action: Action) -> Stage:
    """Return the stage that `action` leads to; raise IllegalMove for any pair that is not in the table."""
    try:
        return _TARGETS[source, action]
    except KeyError:
        legal = ", ".join(sorted({move.action for move in TABLE if move.source == source})) or "nothing"
        raise IllegalMove(f"a label that is {source} cannot {action}: from there it can {legal}") from None


def actions(source: Stage) -> tuple[Action, ...]:
    """Return the actions that the table allows from `source`, in its order."""
    return tuple(move.action for move in TABLE if move.source == source)
