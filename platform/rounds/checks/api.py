"""The desk of a checker: back-to-back checking."""

from rounds.batches import store as batches
from rounds.checks import desk, service
from rounds.checks.views import FindingBody
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels import views
from rounds.labels.store import Label
from rounds.people.model import NotAllowed, Person, Role


def take(conn: Connection, label_id: int, checker: Person, body: FindingBody) -> Label:
    """Keep a verdict in one transaction; raise NotAllowed for anyone but the two checkers of the batch."""
    checker.require(Role.CHECKER)
    batch_id = labels.get(conn, label_id).batch_id
    if batch_id is None or checker.id not in batches.checkers(conn, batch_id):
        raise NotAllowed(f"only the two checkers of its batch check label {label_id}")
    with conn.transaction():
        views.require_standing(conn, label_id, body.revision, body.round)
        return service.check(conn, label_id, checker, body.finding())


DESK = desk.Desk("checks", "check", Role.CHECKER, service.queue, take)
router = desk.api(DESK)
page_router = desk.pages(DESK)
