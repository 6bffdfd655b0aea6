"""Against the real Label Studio: masks go out and come back, nothing is doubled, nothing is lost."""

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from rounds.labelstudio.annotator import AnnotatorSession
from rounds.labelstudio.client import Client
from rounds.labelstudio.codec import Mask, mask_to_results, prediction_to_annotation, results_to_mask
from rounds.labelstudio.errors import LabelStudioRefused, LabelStudioUnreachable, SyncError
from rounds.labelstudio.people import Account, ensure_account, find_account, log_in
from rounds.labelstudio.projects import Project, ensure_project
from rounds.labelstudio.schemes import Scheme, load_scheme
from rounds.labelstudio.sync import (
    SubmittedAnnotation,
    changed_annotations,
    deleted_annotations,
    present_annotations,
    present_tasks,
)
from rounds.labelstudio.tasks import TaskRef, TaskSpec, delete_task, ensure_tasks, merge_slabs, refresh_urls
from rounds.settings import Settings

pytestmark = pytest.mark.stack

CONFIGS = Path(__file__).parents[2] / "annotation_configs"
SHAPE = (6, 48, 40)
URLS = tuple(f"http://127.0.0.1:9/slice-{z}.png" for z in range(SHAPE[0]))


@pytest.fixture(scope="module")
def client(stack: Settings) -> Iterator[Client]:
    with Client.from_settings(stack) as client:
        yield client


@pytest.fixture(scope="module")
def lesion() -> Scheme:
    return load_scheme(CONFIGS, "lesion")


def new_account(client: Client) -> Account:
    return ensure_account(client, f"reader-{secrets.token_hex(4)}@rounds.test")


def session_of(client: Client, account: Account) -> AnnotatorSession:
    assert account.password is not None
    return AnnotatorSession(client.url, account.email, account.password)


@pytest.fixture(scope="module")
def assignee(client: Client) -> Account:
    return new_account(client)


@pytest.fixture
def reader(client: Client, assignee: Account) -> Iterator[AnnotatorSession]:
    with session_of(client, assignee) as session:
        yield session


@pytest.fixture
def project(client: Client, lesion: Scheme, assignee: Account) -> Project:
    return ensure_project(client, assignee.email, lesion)


def random_mask(values: int, shape: tuple[int, int, int] = SHAPE) -> Mask:
    mask = np.random.default_rng(5).integers(0, values + 1, shape).astype(np.uint8)
    mask[1] = 0
    return mask


def spec(prelabel: Mask | None = None, header: str = "") -> TaskSpec:
    return TaskSpec(secrets.randbelow(10**9), 1, URLS, header, prelabel, "model-7")


def one_task(client: Client, project: Project, prelabel: Mask | None = None) -> TaskRef:
    (ref,) = ensure_tasks(client, project, spec(prelabel))
    return ref


def submitted(client: Client, project: Project, ref: TaskRef) -> list[SubmittedAnnotation]:
    changes = changed_annotations(client, project.project_id, None)
    return [annotation for annotation in changes.annotations if annotation.task_id == ref.task_id]


def test_a_mask_that_is_left_alone_comes_back_bit_exact(
    client: Client, project: Project, reader: AnnotatorSession
) -> None:
    mask = random_mask(1)
    wanted = spec(mask, header="Missed lesion: slice 4")
    (ref,) = ensure_tasks(client, project, wanted)
    assert ref.task_id in reader.waiting(project.project_id)
    task = reader.open(ref.task_id)
    assert task.header == "Missed lesion: slice 4"
    assert (task.label_id, task.round, task.slice_urls) == (wanted.label_id, 1, URLS)
    assert task.prelabel is not None
    reader.submit(
        ref.task_id, prediction_to_annotation(task.prelabel), 12.5, prediction_id=task.prediction_id
    )
    (back,) = submitted(client, project, ref)
    assert np.array_equal(results_to_mask(back.results, SHAPE, project.scheme), mask)
    assert (back.lead_time_s, back.skipped, back.completed_by_id) == (12.5, False, reader.user_id)
    assert ref.task_id not in reader.waiting(project.project_id)


def test_slabs_of_five_labels_come_back_whole(
    client: Client, assignee: Account, reader: AnnotatorSession
) -> None:
    scheme = replace(load_scheme(CONFIGS, "lobes"), slab=4)
    project = ensure_project(client, assignee.email, scheme)
    mask = random_mask(5)
    refs = ensure_tasks(client, project, spec(mask))
    assert [(ref.slab, ref.first_slice, ref.slices) for ref in refs] == [(0, 0, 4), (1, 4, 2)]
    parts = []
    for ref in refs:
        task = reader.open(ref.task_id)
        assert f"slices {ref.first_slice + 1} to {ref.first_slice + ref.slices} of 6" in task.header
        assert task.slice_urls == URLS[ref.first_slice : ref.first_slice + ref.slices]
        assert task.prelabel is not None
        reader.submit(ref.task_id, prediction_to_annotation(task.prelabel), 1.0)
        (back,) = submitted(client, project, ref)
        parts.append((ref, results_to_mask(back.results, (ref.slices, *SHAPE[1:]), scheme)))
    assert np.array_equal(merge_slabs(parts), mask)


def test_running_again_adds_nothing(client: Client, lesion: Scheme, stack: Settings) -> None:
    account = new_account(client)
    again = ensure_account(client, account.email.upper())
    assert (again.user_id, again.password) == (account.user_id, None)
    hooks = f"{stack.service_url}"
    first, second = (ensure_project(client, account.email, lesion, hooks) for _ in range(2))
    assert first == second
    assert first.doorbell
    (hook,) = client.get("/api/webhooks/", project=first.project_id)
    assert hook["send_payload"] is False
    wanted = spec(random_mask(1))
    made, found = (ensure_tasks(client, first, wanted) for _ in range(2))
    assert made == found
    assert present_tasks(client, first.project_id) == {ref.task_id for ref in made}
    task = client.get(f"/api/tasks/{made[0].task_id}/")
    assert len(task["predictions"]) == 1
    revision = ensure_tasks(client, first, replace(wanted, round=2))
    assert revision[0].task_id not in {ref.task_id for ref in made}


def test_two_at_the_same_moment_make_one(client: Client, lesion: Scheme) -> None:
    email = new_account(client).email
    wanted = spec(random_mask(1))
    with ThreadPoolExecutor(2) as pool:
        projects = list(pool.map(lambda _: ensure_project(client, email, lesion), range(2)))
        assert len({project.project_id for project in projects}) == 1
        refs = list(pool.map(lambda _: ensure_tasks(client, projects[0], wanted), range(2)))
    assert len(set(refs)) == 1
    assert present_tasks(client, projects[0].project_id) == {refs[0][0].task_id}


def test_a_renamed_project_is_found_and_repaired(client: Client, lesion: Scheme) -> None:
    email = new_account(client).email
    project = ensure_project(client, email, lesion)
    path = f"/api/projects/{project.project_id}/"
    client.patch(path, {"title": "My own title", "show_collab_predictions": False})
    assert ensure_project(client, email, lesion).project_id == project.project_id
    stands = client.get(path)
    assert (stands["title"], stands["show_collab_predictions"]) == ("My own title", True)


def test_a_pre_label_shows_in_the_stream_whatever_the_model_version_before(
    client: Client, lesion: Scheme
) -> None:
    account = new_account(client)
    project = ensure_project(client, account.email, lesion)
    with session_of(client, account) as reader:
        for version in ("model-1", "model-2", "revision"):
            wanted = replace(spec(random_mask(1)), model_version=version)
            (ref,) = ensure_tasks(client, project, wanted)
            shown = reader._call("GET", f"/api/projects/{project.project_id}/next")
            assert (shown["id"], len(shown["predictions"])) == (ref.task_id, 1)
            assert shown["meta"]["model_version"] == version
            reader.submit(ref.task_id, [], 1.0)


def test_a_skipped_task_is_offered_again(client: Client, lesion: Scheme) -> None:
    account = new_account(client)
    project = ensure_project(client, account.email, lesion)
    ref = one_task(client, project)
    with session_of(client, account) as reader:
        reader.skip(ref.task_id)
        assert reader._call("GET", f"/api/projects/{project.project_id}/next")["id"] == ref.task_id


def test_only_the_assignee_counts_and_others_are_named(
    client: Client, project: Project, reader: AnnotatorSession, assignee: Account
) -> None:
    ref, other_ref = one_task(client, project), one_task(client, project)
    reader.submit(ref.task_id, [], 1.0)
    stranger = new_account(client)
    with session_of(client, stranger) as other:
        other.submit(other_ref.task_id, [], 1.0)
        (mine,), (theirs,) = (submitted(client, project, task) for task in (ref, other_ref))
        assert mine.is_by(assignee.email)
        assert not theirs.is_by(assignee.email)
        assert theirs.completed_by_email == stranger.email
        other.change(mine.annotation_id, mask_to_results(np.ones(SHAPE, np.uint8), project.scheme), 2.0)
    (touched,) = submitted(client, project, ref)
    assert not touched.is_by(assignee.email)
    assert (touched.completed_by_email, touched.changed_by_email) == (assignee.email, stranger.email)


def test_polling_finds_every_kind_of_change(
    client: Client, project: Project, reader: AnnotatorSession
) -> None:
    first, second, third = (one_task(client, project) for _ in range(3))
    start = changed_annotations(client, project.project_id, None).cursor
    reader.draft(first.task_id, [])
    skipped = reader.skip(second.task_id)
    made = reader.submit(third.task_id, [], 3.0)
    changes = changed_annotations(client, project.project_id, start)
    by_id = {annotation.annotation_id: annotation for annotation in changes.annotations}
    assert not any(annotation.task_id == first.task_id for annotation in changes.annotations)
    assert by_id[skipped].skipped
    assert not by_id[made].skipped
    assert changes.cursor > start
    reader.change(made, mask_to_results(np.ones(SHAPE, np.uint8), project.scheme), 9.0)
    later = changed_annotations(client, project.project_id, changes.cursor)
    (changed,) = (annotation for annotation in later.annotations if annotation.annotation_id == made)
    assert changed.updated_at > by_id[made].updated_at
    assert len(changed.results) == SHAPE[0]
    reader.delete(made)
    assert deleted_annotations(client, project.project_id, {made, skipped}) == {made}
    assert present_annotations(client, project.project_id)[skipped] == second.task_id
    gone = changed_annotations(client, project.project_id, later.cursor)
    assert made not in {annotation.annotation_id for annotation in gone.annotations}


def test_a_change_written_late_is_found(client: Client, project: Project, reader: AnnotatorSession) -> None:
    made = reader.submit(one_task(client, project).task_id, [], 1.0)
    (stamp,) = (
        annotation.updated_at
        for annotation in changed_annotations(client, project.project_id, None).annotations
        if annotation.annotation_id == made
    )
    for lag, found in ((timedelta(minutes=1), True), (timedelta(minutes=5), False)):
        changes = changed_annotations(client, project.project_id, stamp + lag)
        assert (made in {annotation.annotation_id for annotation in changes.annotations}) is found
        assert changes.cursor == stamp + lag


def test_a_long_list_is_read_to_the_end(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rounds.labelstudio.sync.PAGE", 2)
    refs = {one_task(client, project).task_id for _ in range(5)}
    assert refs <= present_tasks(client, project.project_id)


RUNG: list[bytes] = []


class Doorbell(BaseHTTPRequestHandler):
    """Keep what Label Studio rings with."""

    def do_POST(self) -> None:
        """Take one ring."""
        RUNG.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_webhook_rings_without_payload_and_a_lost_one_loses_nothing(client: Client, lesion: Scheme) -> None:
    account = new_account(client)
    RUNG.clear()
    server = HTTPServer(("127.0.0.1", 0), Doorbell)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    project = ensure_project(client, account.email, lesion, url)
    heard, lost = one_task(client, project), one_task(client, project)
    with session_of(client, account) as reader:
        reader.submit(heard.task_id, mask_to_results(np.ones(SHAPE, np.uint8), lesion), 1.0)
        server.shutdown()
        server.server_close()
        assert RUNG == [b'{"action": "ANNOTATION_CREATED"}']
        reader.submit(lost.task_id, [], 1.0)
    changes = changed_annotations(client, project.project_id, None)
    assert {annotation.task_id for annotation in changes.annotations} == {heard.task_id, lost.task_id}


def test_the_doorbell_moves_with_the_service_and_may_be_refused(client: Client, lesion: Scheme) -> None:
    email = new_account(client).email
    for port in (9001, 9002):
        assert ensure_project(client, email, lesion, f"http://127.0.0.1:{port}/").doorbell
    refused = ensure_project(client, new_account(client).email, lesion, "http://10.0.0.1")
    assert not refused.doorbell
    project = ensure_project(client, email, lesion)
    (hook,) = client.get("/api/webhooks/", project=project.project_id)
    assert hook["url"] == "http://127.0.0.1:9002/hooks/labelstudio"


def test_urls_are_renewed_and_a_deleted_task_is_gone(client: Client, project: Project) -> None:
    wanted = spec(random_mask(1))
    (ref,) = ensure_tasks(client, project, wanted)
    fresh = [url + "?renewed" for url in URLS]
    assert refresh_urls(client, ref, fresh)
    task = client.get(f"/api/tasks/{ref.task_id}/")
    assert task["data"]["images"] == fresh
    assert len(task["predictions"]) == 1
    assert ensure_tasks(client, project, wanted) == (ref,)
    assert [delete_task(client, ref.task_id) for _ in range(2)] == [True, False]
    assert not refresh_urls(client, ref, URLS)
    assert submitted(client, project, ref) == []


def test_an_unreadable_annotation_is_an_error_of_its_own(
    client: Client, project: Project, reader: AnnotatorSession
) -> None:
    ref = one_task(client, project)
    results = mask_to_results(np.ones((1, 5, 5), np.uint8), project.scheme)
    reader.submit(ref.task_id, results, 1.0)
    (back,) = submitted(client, project, ref)
    with pytest.raises(SyncError, match="5 x 5 pixels, its slice 48 x 40"):
        results_to_mask(back.results, SHAPE, project.scheme)


def test_accounts_are_found_and_wrong_passwords_refused(client: Client, assignee: Account) -> None:
    assert find_account(client, "nobody@rounds.test") is None
    found = find_account(client, assignee.email)
    assert found is not None
    assert found.user_id == assignee.user_id
    with pytest.raises(LabelStudioRefused, match="address and password"):
        log_in(client.url, assignee.email, "wrong")
    with pytest.raises(LabelStudioRefused, match="new account"):
        ensure_account(client, "not an address")


def test_errors_of_the_real_server_carry_no_data(client: Client) -> None:
    marker = f"secret-{secrets.token_hex(4)}"
    with pytest.raises(LabelStudioRefused, match="about title") as caught:
        client.post("/api/projects/", {"title": marker * 10})
    assert marker not in str(caught.value)
    bad = {"task": 10**9, "result": [{"type": marker}]}
    with pytest.raises((LabelStudioRefused, LabelStudioUnreachable)) as caught_too:
        client.post("/api/predictions/", bad)
    assert marker not in str(caught_too.value)


def test_a_spent_access_token_is_renewed(stack: Settings) -> None:
    with Client.from_settings(stack) as client:
        client.get("/api/users/")
        client._access = "spent"
        assert client.get("/api/current-user/whoami")["id"]


def test_no_server_is_a_clear_error() -> None:
    with pytest.raises(LabelStudioUnreachable, match="rounds up"):
        Client("http://127.0.0.1:9", "token", sleep=lambda seconds: None).get("/api/users/")
    with pytest.raises(LabelStudioUnreachable, match="rounds up"), httpx.Client():
        log_in("http://127.0.0.1:9", "a@b.test", "x")
