"""What annotators have submitted, by polling alone: a cursor that overlaps, and a diff of ids for deletions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rounds.labelstudio.client import Client
from rounds.labelstudio.codec import Result
from rounds.labelstudio.errors import LabelStudioRefused
from rounds.labelstudio.people import account_emails

OVERLAP = timedelta(minutes=2)
PAGE = 50  # Label Studio loads every mask of a page, whatever fields are asked for
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SubmittedAnnotation:
    """A submitted annotation as it stands; drafts are none. Known by (annotation_id, updated_at).

    `completed_by` made it, `changed_by` changed it last (None when nobody but the maker did); an annotation counts
    only when the assignee did both, as Label Studio lets anybody change anything. `skipped` ones have no mask.
    """

    project_id: int
    task_id: int
    annotation_id: int
    updated_at: datetime
    completed_by_id: int | None
    completed_by_email: str | None
    changed_by_email: str | None
    lead_time_s: float | None
    skipped: bool
    results: tuple[Result, ...]

    def is_by(self, email: str) -> bool:
        """Return whether `email` made it and nobody else changed it."""
        return self.completed_by_email == email.lower() and self.changed_by_email in {None, email.lower()}


@dataclass(frozen=True)
class Changes:
    """What one poll found, oldest first, and the cursor to pass to the next poll."""

    annotations: tuple[SubmittedAnnotation, ...]
    cursor: datetime


def changed_annotations(client: Client, project_id: int, since: datetime | None) -> Changes:
    """Return the annotations of every task changed at or after `since` less two minutes; all when it is None.

    The overlap covers a change that was written late or while an earlier poll ran; so the same annotation comes
    several times, and the caller takes (annotation_id, updated_at) once.
    """
    cursor = since or EPOCH
    found: list[SubmittedAnnotation] = []
    emails: dict[int, str] | None = None
    for task in _task_rows(client, project_id, cursor - OVERLAP):
        cursor = max(cursor, _moment(task["updated_at"]))
        ids = _annotation_ids(task)
        if not ids:
            continue
        if emails is None:
            emails = account_emails(client)
        found.extend(_read(annotation, emails) for annotation in _annotations(client, int(task["id"]), ids))
    found.sort(key=lambda annotation: (annotation.updated_at, annotation.annotation_id))
    return Changes(tuple(found), cursor)


def present_annotations(client: Client, project_id: int) -> dict[int, int]:
    """Return every annotation of the project that exists now as annotation id -> task id, skipped ones too."""
    return {
        annotation_id: int(task["id"])
        for task in _task_rows(client, project_id, None)
        for annotation_id in _annotation_ids(task)
    }


def deleted_annotations(client: Client, project_id: int, known: set[int]) -> set[int]:
    """Return those of the `known` annotation ids that no longer exist in the project."""
    return known - set(present_annotations(client, project_id))


def present_tasks(client: Client, project_id: int) -> set[int]:
    """Return the ids of all tasks of the project, to find tasks that someone deleted."""
    return {int(task["id"]) for task in _task_rows(client, project_id, None)}


def _task_rows(client: Client, project_id: int, since: datetime | None) -> Iterator[dict[str, Any]]:
    """Yield tasks by rising id; each page starts behind the last id, so changes meanwhile shift nothing."""
    last = 0
    while True:
        filters = [_filter("id", "Number", "greater", last)]
        if since is not None:
            moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            filters.append(_filter("updated_at", "Datetime", "greater_or_equal", moment))
        query = {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}
        # fields=all is what fills annotations_ids; include keeps everything else out of the answer
        tasks = client.get(
            "/api/tasks/",
            project=project_id,
            fields="all",
            include="id,updated_at,annotations_ids",
            page_size=PAGE,
            query=json.dumps(query),
        )["tasks"]
        yield from tasks
        if len(tasks) < PAGE:
            return
        last = int(tasks[-1]["id"])


def _annotation_ids(task: Mapping[str, Any]) -> set[int]:
    return {int(part) for part in str(task["annotations_ids"] or "").split(",") if part.strip()}


def _annotations(client: Client, task_id: int, ids: set[int]) -> Iterator[dict[str, Any]]:
    """Yield the annotations that still exist; a task's own list leaves out the skipped ones."""
    listed = _get_if_there(client, f"/api/tasks/{task_id}/annotations/") or []
    yield from listed
    for annotation_id in sorted(ids - {int(annotation["id"]) for annotation in listed}):
        skipped = _get_if_there(client, f"/api/annotations/{annotation_id}/")
        if skipped is not None:
            yield skipped


def _get_if_there(client: Client, path: str) -> Any:
    try:
        return client.get(path)
    except LabelStudioRefused as error:
        if error.status == 404:
            return None
        raise


def _filter(field: str, kind: str, operator: str, value: int | str) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{field}", "type": kind, "operator": operator, "value": value}


def _read(annotation: Mapping[str, Any], emails: Mapping[int, str]) -> SubmittedAnnotation:
    maker, changer = annotation.get("completed_by"), annotation.get("updated_by")
    lead_time = annotation.get("lead_time")
    return SubmittedAnnotation(
        project_id=int(annotation["project"]),
        task_id=int(annotation["task"]),
        annotation_id=int(annotation["id"]),
        updated_at=_moment(annotation["updated_at"]),
        completed_by_id=None if maker is None else int(maker),
        completed_by_email=None if maker is None else emails.get(int(maker)),
        changed_by_email=None if changer in {None, maker} else emails.get(int(changer), "unknown"),
        lead_time_s=None if lead_time is None else float(lead_time),
        skipped=bool(annotation.get("was_cancelled")),
        results=tuple(annotation.get("result") or ()),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
