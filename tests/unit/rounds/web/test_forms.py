"""A posted verdict becomes a finding, or a sentence that says what is missing."""

import pytest

from rounds.audits.service import QueuedAudit
from rounds.checks.model import BadVerdict, Reason, Verdict
from rounds.checks.views import FindingBody, following, queued, read_form


def test_a_form_becomes_a_finding() -> None:
    body = read_form("fail", ["boundary", "missed_lesion", "boundary"], "9,3,9", " low ", "2", "1")
    assert (body.revision, body.round) == (2, 1)
    finding = body.finding()
    assert finding.verdict is Verdict.FAIL
    assert finding.reasons == (Reason.MISSED_LESION, Reason.BOUNDARY)
    assert (finding.slices, finding.note) == ((3, 9), "low")


def test_a_pass_drops_reasons_that_were_ticked_before() -> None:
    assert read_form("pass", ["boundary"], "", "", "", "").finding().reasons == ()


@pytest.mark.parametrize(
    ("verdict", "reasons", "slices"), [("", [], ""), ("maybe", [], ""), ("fail", ["boundary"], "x")]
)
def test_a_form_that_cannot_be_read(verdict: str, reasons: list[str], slices: str) -> None:
    with pytest.raises(BadVerdict):
        read_form(verdict, reasons, slices, "", "", "")


def test_the_next_label_in_a_queue() -> None:
    waiting = [QueuedAudit(label, 1, label, "lesion") for label in (3, 5, 8)]
    assert following(waiting, None) == 3
    assert following(waiting, 5) == 8
    assert following(waiting, 8) == 3
    assert following(waiting, 4) == 3
    assert following(waiting[:1], 3) is None
    assert following([], None) is None
    assert queued(waiting[:1]) == [{"label_id": 3, "batch_id": 1, "case_id": 3, "scheme": "lesion"}]


def test_a_body_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="extra"):
        FindingBody.model_validate({"verdict": "pass", "annotator": 3})
