"""The service against a real PostgreSQL and object store: who sees what, who may do what, and a batch to its end."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from tests.integration.clinic import PASSWORD, Clinic, as_person, build, database, phantom, token

from rounds import orchestration
from rounds.app import create_app
from rounds.checks.model import Finding, Reason, Verdict
from rounds.imaging.nifti import decode_mask
from rounds.labels.service import withdraw
from rounds.people import store as people
from rounds.settings import Settings

pytestmark = pytest.mark.stack

PASS = {"verdict": "pass"}
FAIL = {"verdict": "fail", "reasons": ["boundary", "missed_lesion"], "slices": [3, 5], "note": "lower left"}
OK = Finding(Verdict.PASS)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Collect the flows that the service asks for, in place of a Prefect server."""
    found: list[tuple[str, dict[str, Any]]] = []

    def start(_settings: Settings, name: str, parameters: dict[str, Any], **_when: object) -> str:
        found.append((name, parameters))
        return "run"

    monkeypatch.setattr(orchestration, "start_flow", start)
    monkeypatch.setattr(orchestration, "pending_runs", lambda _settings, _name: 0)
    return found


@pytest.fixture(scope="module")
def model(stack: Settings) -> Clinic:
    """Build the clinic that every test gets a copy of: four labels, each submitted once."""
    built = build(database(stack, "rounds_test_clinic"))
    built.submit_all()
    return built


@pytest.fixture
def clinic(stack: Settings, model: Clinic, started: list[tuple[str, dict[str, Any]]]) -> Clinic:
    """Copy the clinic into a database of the test's own."""
    return replace(model, settings=database(stack, "rounds_test_service", "rounds_test_clinic"))


@pytest.fixture
def client(clinic: Clinic) -> Iterator[TestClient]:
    with TestClient(create_app(clinic.settings)) as running:
        yield running


def post(client: TestClient, short: str, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, json=body, headers=token(client, short))


def get(client: TestClient, short: str, path: str) -> Any:
    return client.get(path, headers=token(client, short))


def pass_all(clinic: Clinic) -> None:
    for label in clinic.labels():
        for checker in ("ben", "bea"):
            clinic.check(label.id, checker, OK)


def secrets_of(clinic: Clinic) -> tuple[str, ...]:
    """What must not reach a blind checker: names, emails and actors of both annotators."""
    known = [clinic.staff[short] for short in ("ann", "amy")]
    return tuple(word for one in known for word in (one.email, one.name, f'"{one.actor}"'))


def test_health_asks_the_database(client: TestClient) -> None:
    assert client.get("/healthz").json()["status"] == "ok"


def test_health_fails_without_a_database(clinic: Clinic) -> None:
    lost = clinic.settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:9/none"})
    with TestClient(create_app(lost)) as running:
        answer = running.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["error"] == "database_down"


def test_log_in_and_out(client: TestClient, clinic: Clinic) -> None:
    held = token(client, "ben")
    assert client.get("/api/me", headers=held).json()["roles"] == ["checker"]
    assert client.post("/api/logout", headers=held).status_code == 204
    assert client.get("/api/me", headers=held).status_code == 401
    wrong = client.post("/api/login", json={"email": "ben@clinic.example", "password": "guess"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "wrong_password")


def test_passwords_cannot_be_tried_in_bulk(client: TestClient) -> None:
    body = {"email": "sue@clinic.example", "password": "guess"}
    codes = [client.post("/api/login", json=body).status_code for _ in range(9)]
    assert codes == [401] * 8 + [429]
    right = {**body, "password": PASSWORD}
    assert client.post("/api/login", json=right).status_code == 429
    assert token(client, "ben")


def test_a_checker_is_blind_until_both_verdicts_are_in(client: TestClient, clinic: Clinic) -> None:
    label = clinic.labels()[0].id
    assert post(client, "ben", f"/api/labels/{label}/checks", FAIL).status_code == 201
    for path in (
        f"/api/labels/{label}",
        "/api/checks/queue",
        f"/api/batches/{clinic.batch_id}",
        "/api/batches",
    ):
        seen = get(client, "bea", path)
        assert seen.status_code == 200
        for secret in (*secrets_of(clinic), "lower left", "missed_lesion"):
            assert secret not in seen.text, (path, secret)
    assert get(client, "bea", f"/api/labels/{label}").json()["verdicts"] == []
    assert "annotator" not in get(client, "bea", f"/api/labels/{label}").json()
    assert get(client, "bea", f"/api/labels/{label}/history").status_code == 403
    own = get(client, "ben", f"/api/labels/{label}").json()["verdicts"]
    assert [verdict["by"] for verdict in own] == ["you"]

    assert post(client, "bea", f"/api/labels/{label}/checks", PASS).json()["stage"] == "revising"
    both = get(client, "bea", f"/api/labels/{label}")
    assert {verdict["by"]: verdict["verdict"] for verdict in both.json()["verdicts"]} == {
        "the other checker": "fail",
        "you": "pass",
    }
    told = get(client, "bea", f"/api/labels/{label}/history")
    assert "the annotator" in told.text
    for secret in secrets_of(clinic):
        assert secret not in both.text + told.text


def test_pages_are_blind_too(client: TestClient, clinic: Clinic) -> None:
    label = clinic.labels()[0].id
    post(client, "ben", f"/api/labels/{label}/checks", FAIL)
    as_person(client, "bea")
    for path in ("/", f"/checks/{label}", f"/labels/{label}", "/batches", f"/batches/{clinic.batch_id}"):
        seen = client.get(path)
        assert seen.status_code == 200
        for secret in (*secrets_of(clinic), "lower left"):
            assert secret not in seen.text, (path, secret)


def test_a_verdict_that_fails_asks_for_a_new_task(
    client: TestClient, clinic: Clinic, started: list[tuple[str, dict[str, Any]]]
) -> None:
    label = clinic.labels()[0].id
    post(client, "ben", f"/api/labels/{label}/checks", PASS)
    assert started == []
    post(client, "bea", f"/api/labels/{label}/checks", FAIL)
    assert started == [("batch", {"batch_id": clinic.batch_id})]


def test_a_prefect_that_is_down_loses_no_verdict(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    lost = clinic.settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    label = clinic.labels()[0].id
    with TestClient(create_app(lost)) as running:
        post(running, "ben", f"/api/labels/{label}/checks", FAIL)
        answer = post(running, "bea", f"/api/labels/{label}/checks", FAIL)
    assert (answer.status_code, answer.json()["stage"]) == (201, "revising")


@pytest.mark.parametrize("short", ["ann", "amy", "bob", "sue", "quin", "eve", "ada"])
def test_only_the_batchs_checkers_check(client: TestClient, clinic: Clinic, short: str) -> None:
    label = clinic.labels()[0].id
    answer = post(client, short, f"/api/labels/{label}/checks", PASS)
    assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("short", "path"),
    [
        ("ben", "/api/audits/queue"),
        ("sue", "/api/checks/queue"),
        ("bob", "/api/labels/1"),
        ("bob", "/api/batches/1"),
        ("ann", "/api/batches"),
        ("ann", "/api/labels/2"),
        ("ann", "/api/labels/2/slices/0.png"),
        ("ann", "/api/labels/2/mask"),
        ("bob", "/api/labels/1/overlays/0.png"),
    ],
)
def test_what_a_role_may_not_read(client: TestClient, clinic: Clinic, short: str, path: str) -> None:
    answer = get(client, short, path)
    assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")


def test_an_annotator_reads_his_own_label(client: TestClient, clinic: Clinic) -> None:
    seen = get(client, "ann", "/api/labels/1")
    assert (seen.status_code, seen.json()["annotator"]) == (200, clinic.staff["ann"].name)


def test_nothing_is_open_without_a_token(client: TestClient, clinic: Clinic) -> None:
    schema = client.get("/api/openapi.json").json()["paths"]
    assert len(schema) > 15
    for path, methods in schema.items():
        if path == "/api/login":
            continue
        for method in methods:
            filled = re.sub(r"\{\w+\}", "1", path)
            assert client.request(method, filled, json={}).status_code == 401, (method, path)


def test_a_checker_who_is_also_senior_cannot_audit_what_he_checked(
    client: TestClient, clinic: Clinic
) -> None:
    pass_all(clinic)
    with clinic.connect() as conn:
        ben = clinic.staff["ben"]
        people.add(
            conn, "operator", ben.email, ben.name, [*ben.roles, clinic.staff["sue"].roles[0]], PASSWORD
        )
    drawn = get(client, "sue", "/api/audits/queue").json()[0]["label_id"]
    assert get(client, "ben", "/api/audits/queue").json() == []
    answer = post(client, "ben", f"/api/labels/{drawn}/audits", PASS)
    assert (answer.status_code, answer.json()["error"]) == (403, "separation")


def test_illegal_moves_are_conflicts(client: TestClient, clinic: Clinic) -> None:
    label = clinic.labels()[0].id
    for path, short, body in (
        (f"/api/labels/{label}/audits", "sue", PASS),
        (f"/api/batches/{clinic.batch_id}/decision", "quin", {"verdict": "accept"}),
        (f"/api/labels/{label}/reassign", "sue", {"annotator": "amy@clinic.example", "reason": "ill"}),
    ):
        answer = post(client, short, path, body)
        assert answer.status_code == 409, (path, answer.text)
        assert answer.json()["message"]
    post(client, "ben", f"/api/labels/{label}/checks", PASS)
    post(client, "bea", f"/api/labels/{label}/checks", PASS)
    assert post(client, "ben", f"/api/labels/{label}/checks", PASS).json()["error"] == "illegal_move"
    assert get(client, "ben", "/api/labels/999").status_code == 404


def test_what_was_looked_at_must_still_stand(client: TestClient, clinic: Clinic) -> None:
    label = clinic.labels()[0].id
    answer = post(client, "ben", f"/api/labels/{label}/checks", {**PASS, "revision": 7})
    assert (answer.status_code, answer.json()["error"]) == (409, "stale_revision")
    answer = post(client, "ben", f"/api/labels/{label}/checks", {**PASS, "revision": 1, "round": 2})
    assert answer.json()["error"] == "stale_revision"
    assert post(client, "ben", f"/api/labels/{label}/checks", {**PASS, "revision": 1, "round": 1}).is_success


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"verdict": "fail"}, "bad_verdict"),
        ({"verdict": "fail", "reasons": ["other"]}, "bad_verdict"),
        ({"verdict": "pass", "reasons": ["boundary"]}, "bad_verdict"),
        ({"verdict": "fail", "reasons": ["boundary"], "slices": [12]}, "bad_verdict"),
        ({"verdict": "fail", "reasons": ["ugly"]}, "invalid_request"),
        ({"verdict": "perhaps"}, "invalid_request"),
        ({"verdict": "pass", "extra": 1}, "invalid_request"),
    ],
)
def test_bad_verdicts(client: TestClient, clinic: Clinic, body: dict[str, Any], code: str) -> None:
    answer = post(client, "ben", "/api/labels/1/checks", body)
    assert (answer.status_code, answer.json()["error"]) == (422, code)


def test_pixels_are_those_of_the_case_and_the_mask(client: TestClient, clinic: Clinic) -> None:
    label = clinic.labels()[0]
    held = token(client, "ben")
    shown = client.get(f"/api/labels/{label.id}", headers=held).json()
    volume, mask = phantom(tuple(shown["shape"]), label.case_id)
    stored, _ = decode_mask(client.get(f"/api/labels/{label.id}/mask", headers=held).content)
    assert np.array_equal(stored, mask)
    voxels = client.get(f"/api/labels/{label.id}/extent", headers=held).json()["voxels"]
    assert voxels == [int(plane.sum()) for plane in mask]
    index = int(np.argmax(voxels))
    grey = client.get(f"/api/labels/{label.id}/slices/{index}.png", headers=held)
    decoded = cv2.imdecode(np.frombuffer(grey.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    expected = np.clip(np.rint((volume[index] + 1024.0) * 255 / 1374), 0, 255)
    assert np.array_equal(decoded, expected)
    drawn = client.get(f"/api/labels/{label.id}/overlays/{index}.png?r=1", headers=held)
    rgba = cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert rgba is not None
    assert np.array_equal(rgba[..., 3] > 0, mask[index] > 0)
    assert "private" in drawn.headers["cache-control"]
    assert shown["edges"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    for path in ("slices/12.png", "slices/-1.png", "overlays/12.png"):
        assert client.get(f"/api/labels/{label.id}/{path}", headers=held).status_code == 404
    stale = client.get(f"/api/labels/{label.id}/overlays/{index}.png?r=2", headers=held)
    assert stale.json()["error"] == "stale_revision"


def test_a_batch_to_its_end(
    client: TestClient, clinic: Clinic, started: list[tuple[str, dict[str, Any]]]
) -> None:
    batch = f"/api/batches/{clinic.batch_id}"
    assert get(client, "quin", batch).json()["draw"]["seed"] is None
    pass_all(clinic)
    queue = get(client, "sue", "/api/audits/queue").json()
    assert len(queue) == 2  # 30 % of 4, rounded up
    others = sorted({label.id for label in clinic.labels()} - {one["label_id"] for one in queue})
    refused = post(client, "sue", f"/api/labels/{others[0]}/audits", PASS)
    assert refused.status_code == 403
    for one in queue:
        assert post(client, "sue", f"/api/labels/{one['label_id']}/audits", PASS).status_code == 201
    shown = get(client, "quin", batch).json()
    assert shown["state"] == "deciding"
    assert shown["audit"] == {"drawn": 2, "of": 4, "failed": 0, "audited": 2, "lost": 0, "upper_bound_95": 2}
    assert (
        shown["worth"] == "0 of 2 drawn failed: with 95 % confidence at most 2 of the 4 labels are defective."
    )
    for short in ("ben", "sue", "eve"):
        assert post(client, short, f"{batch}/decision", {"verdict": "accept"}).status_code == 403
    assert post(client, "quin", f"{batch}/decision", {"verdict": "reject"}).status_code == 409
    rejected = post(
        client, "quin", f"{batch}/decision", {"verdict": "reject", "note": "sloppy", "attempt": 1}
    )
    assert (rejected.json()["state"], rejected.json()["draw"]["share"]) == ("rejected", 0.6)
    assert started == [("batch", {"batch_id": clinic.batch_id})]
    pass_all(clinic)
    for one in get(client, "sue", "/api/audits/queue").json():
        post(client, "sue", f"/api/labels/{one['label_id']}/audits", PASS)
    late = post(client, "quin", f"{batch}/decision", {"verdict": "accept", "attempt": 1})
    assert late.status_code == 409
    accepted = post(client, "quin", f"{batch}/decision", {"verdict": "accept", "attempt": 2})
    assert accepted.json()["labels"] == {"accepted": 4}


def test_the_draw_can_be_repeated_by_hand(client: TestClient, clinic: Clinic) -> None:
    with clinic.connect() as conn, conn.transaction():
        withdraw(conn, clinic.labels()[0].id, "operator", "twice the same scan")
    with_one_less = clinic.labels()[1:]
    for label in with_one_less:
        for checker in ("ben", "bea"):
            clinic.check(label.id, checker, OK)
    as_person(client, "quin")
    text = client.get(f"/batches/{clinic.batch_id}").text
    recipe = re.search(r'<pre id="recipe">(.*?)</pre>', text, re.DOTALL)
    assert recipe
    command = recipe[1].replace("&#34;", '"').replace("&#39;", "'")
    repeated = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True
    ).stdout.split()
    drawn = client.get(f"/api/batches/{clinic.batch_id}").json()["draw"]["labels"]
    assert [int(label) for label in repeated] == drawn


def test_a_failed_audit_goes_back_to_its_annotator(client: TestClient, clinic: Clinic) -> None:
    pass_all(clinic)
    label = get(client, "sue", "/api/audits/queue").json()[0]["label_id"]
    answer = post(client, "sue", f"/api/labels/{label}/audits", FAIL)
    assert answer.json()["stage"] == "revising"
    shown = get(client, "quin", f"/api/batches/{clinic.batch_id}").json()
    assert (shown["state"], shown["audit"]["failed"]) == ("auditing", 1)


def test_withdraw_and_reassign(
    client: TestClient, clinic: Clinic, started: list[tuple[str, dict[str, Any]]]
) -> None:
    label = clinic.labels()[0].id
    for checker in ("ben", "bea"):
        clinic.check(label, checker, Finding(Verdict.FAIL, (Reason.BOUNDARY,)))
    body = {"annotator": "amy@clinic.example", "reason": "holiday"}
    assert post(client, "ben", f"/api/labels/{label}/reassign", body).status_code == 403
    to_checker = {**body, "annotator": "ben@clinic.example"}
    assert post(client, "eve", f"/api/labels/{label}/reassign", to_checker).status_code == 403
    assert post(client, "sue", f"/api/labels/{label}/reassign", body).status_code == 200
    assert started == [("batch", {"batch_id": clinic.batch_id})]
    assert clinic.labels()[0].annotator_id == clinic.staff["amy"].id
    assert post(client, "sue", f"/api/labels/{label}/withdraw", {"reason": "motion"}).status_code == 403
    assert post(client, "eve", f"/api/labels/{label}/withdraw", {"reason": " "}).status_code == 409
    assert (
        post(client, "eve", f"/api/labels/{label}/withdraw", {"reason": "motion"}).json()["stage"]
        == "withdrawn"
    )
    lines = get(client, "eve", f"/api/labels/{label}/history").json()
    assert (lines[-1]["what"], lines[-1]["note"]) == ("withdraw: revising → withdrawn", "motion")


def test_other_sites_cannot_act_for_somebody_who_is_logged_in(client: TestClient, clinic: Clinic) -> None:
    as_person(client, "ben")
    path = "/api/labels/1/checks"
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = client.post(path, json=PASS, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "cross_site")
    assert client.post(path, json=PASS, headers={"Origin": "http://testserver"}).status_code == 201
    form = {"email": "ben@clinic.example", "password": PASSWORD}
    assert client.post("/login", data=form, headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_session_cookie_and_the_way_back(client: TestClient, clinic: Clinic) -> None:
    asked = client.get("/checks/1", follow_redirects=False)
    assert asked.headers["location"] == "/login?next=/checks/1"
    form = {"email": "ben@clinic.example", "password": PASSWORD, "next": "//evil.example"}
    answer = client.post("/login", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_doorbell_reads_nothing_and_rings_once(
    client: TestClient,
    started: list[tuple[str, dict[str, Any]]],
    clinic: Clinic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = client.post("/hooks/labelstudio", content=b"\xff not json", headers={"Origin": "http://x"})
    assert answer.status_code == 204
    assert started == [("sync", {})]
    monkeypatch.setattr(orchestration, "pending_runs", lambda _settings, _name: 1)
    assert client.post("/hooks/labelstudio", json={"action": "ANNOTATION_CREATED"}).status_code == 204
    assert started == [("sync", {})]


def test_a_broken_part_is_told_without_its_insides(
    client: TestClient, clinic: Clinic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("Mustermann^Max")

    monkeypatch.setattr("rounds.checks.desk.queued", broken)
    answer = get(client, "ben", "/api/checks/queue")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "RuntimeError" in caplog.text
    assert "Mustermann" not in caplog.text + json.dumps(answer.json())


@pytest.mark.parametrize(
    ("short", "path", "words"),
    [
        ("quin", "/", "No batch waits"),
        ("sue", "/", "Nothing to audit"),
        ("ann", "/", "Your labels"),
        ("eve", "/batches", "Batch 1"),
        ("eve", "/cases", "uCT 530"),
        ("eve", "/datasets", "No version yet"),
        ("eve", "/models", "No model version yet"),
        ("eve", "/labels/1", "History"),
    ],
)
def test_every_page_opens(client: TestClient, clinic: Clinic, short: str, path: str, words: str) -> None:
    as_person(client, short)
    seen = client.get(path)
    assert seen.status_code == 200
    assert words in seen.text
    assert not re.search(r'(src|action|<link[^>]+href)="(https?:)?//', seen.text)
    assert "pseudonym-" not in seen.text
    assert client.get("/nowhere").status_code == 404


def test_many_requests_at_once_share_the_pool(client: TestClient, clinic: Clinic) -> None:
    held = token(client, "ben")

    def fetch(index: int) -> object:
        return client.get(f"/api/labels/1/slices/{index % 12}.png", headers=held).status_code

    begun = time.monotonic()
    with ThreadPoolExecutor(32) as readers:
        assert set(readers.map(fetch, range(96))) == {200}
    assert time.monotonic() - begun < 8  # a pool that starves waits ten seconds


def test_a_session_that_ended_while_reading_loses_nothing(client: TestClient, clinic: Clinic) -> None:
    headers = {"HX-Request": "true", "Origin": "http://testserver"}
    answer = client.post("/checks/1", data={"verdict": "pass"}, headers=headers)
    assert answer.status_code == 401
    assert "nothing is lost" in answer.text
    assert client.get("/", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/login"
