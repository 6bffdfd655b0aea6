"""The desk of a senior: the audit of drawn labels."""

from rounds.audits import service
from rounds.checks import desk
from rounds.checks.views import FindingBody
from rounds.db import Connection
from rounds.labels import views
from rounds.labels.store import Label
from rounds.people.model import Person, Role


def take(conn: Connection, label_id: int, senior: Person, body: FindingBody) -> Label:
    """Keep an audit in one transaction; raise NotAllowed for anyone but a senior."""
    senior.require(Role.SENIOR)
    with conn.transaction():
        views.require_standing(conn, label_id, body.revision, body.round)
        return service.audit(conn, label_id, senior, body.finding())


DESK = desk.Desk("audits", "audit", Role.SENIOR, service.queue, take)
router = desk.api(DESK)
page_router = desk.pages(DESK)
