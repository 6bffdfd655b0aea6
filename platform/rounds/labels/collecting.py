"""Bringing submitted annotations back as revisions, by polling; what does not count is set aside with its reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rounds.cases import store as cases
from rounds.cases.store import Case
from rounds.db import Connection
from rounds.imaging.masks import changed_voxels, dice
from rounds.imaging.nifti import decode_mask, encode_mask
from rounds.labels import service, store, tasks
from rounds.labels.model import Stage
from rounds.labels.tasks import Taken, Task
from rounds.labelstudio.client import Client
from rounds.labelstudio.codec import Mask, count_origins, results_to_mask
from rounds.labelstudio.errors import SyncError
from rounds.labelstudio.schemes import load_scheme
from rounds.labelstudio.sync import SubmittedAnnotation, changed_annotations
from rounds.labelstudio.tasks import TaskRef, merge_slabs
from rounds.objects import ObjectStore
from rounds.people import store as people
from rounds.settings import Settings


class Collector:
    """Reads what annotators submitted since the last time; reading it twice changes nothing."""

    def __init__(self, settings: Settings, conn: Connection, client: Client, objects: ObjectStore) -> None:
        self._settings = settings
        self._conn = conn
        self._client = client
        self._objects = objects

    def collect(self, project_id: int) -> int:
        """Take what is new in one project; return how many labels went on to be checked."""
        changes = changed_annotations(self._client, project_id, tasks.cursor_of(self._conn, project_id))
        submitted = sum(self._take(annotation) for annotation in changes.annotations)
        tasks.advance_cursor(self._conn, project_id, changes.cursor)
        return submitted

    def _take(self, annotation: SubmittedAnnotation) -> bool:
        if tasks.seen(self._conn, annotation.annotation_id, annotation.updated_at):
            return False
        task = tasks.by_task(self._conn, annotation.task_id)
        if task is None:
            return False
        label = store.get(self._conn, task.label_id)
        assignee = people.by_id(self._conn, task.annotator_id)
        if annotation.skipped:
            outcome = "skipped by the annotator"
        elif not annotation.is_by(assignee.email):
            outcome = "not made, or not last changed, by the assignee"
        elif label.stage not in (Stage.ANNOTATING, Stage.REVISING) or task.round != label.round + 1:
            outcome = "too late: this round of the label was already submitted"
        else:
            return self._read(annotation, task)
        self._note(annotation, outcome)
        return False

    def _read(self, annotation: SubmittedAnnotation, task: Task) -> bool:
        """Decode the mask, keep it, and submit the label once every slab of its round is there."""
        label = store.get(self._conn, task.label_id)
        scheme = load_scheme(self._settings.annotation_configs, label.scheme)
        case = cases.get(self._conn, label.case_id)
        shape = (task.slices, int(case.shape[1]), int(case.shape[2]))
        try:
            mask = results_to_mask(annotation.results, shape, scheme)
        except SyncError as error:
            self._note(annotation, f"unreadable: {error}")
            return False
        ref = self._objects.put(encode_mask(mask, np.eye(4)), ".nii.gz")
        origins = count_origins(annotation.results)
        effort = {"kept": origins.prediction, "changed": origins.prediction_changed, "drawn": origins.manual}
        with self._conn.transaction():
            tasks.note(
                self._conn,
                annotation.annotation_id,
                annotation.updated_at,
                task.task_id,
                "taken",
                ref,
                annotation.lead_time_s,
                effort,
            )
            wanted = tasks.of_label(self._conn, label.id, task.round)
            taken = tasks.taken(self._conn, wanted)
            if len(taken) < len(wanted):
                return False
            self._submit(task, taken, case)
        return True

    def _submit(self, task: Task, taken: list[Taken], case: Case) -> None:
        parts = [(_ref(one.task), decode_mask(self._objects.get(one.mask))[0]) for one in taken]
        mask = merge_slabs(parts)
        affine = np.array(case.affine, dtype=np.float64)
        seconds = [one.seconds for one in taken if one.seconds is not None]
        service.submit(
            self._conn,
            task.label_id,
            people.by_id(self._conn, task.annotator_id),
            self._objects.put(encode_mask(mask, affine), ".nii.gz"),
            parent_id=task.parent_id,
            seconds=sum(seconds) if seconds else None,
            effort={**_sum(one.effort for one in taken), **self._compared(task.parent_id, mask)},
        )

    def _compared(self, parent_id: int | None, mask: Mask) -> dict[str, Any]:
        if parent_id is None:
            return {}
        before = decode_mask(self._objects.get(store.revision(self._conn, parent_id).mask))[0]
        return {"dice": dice(before, mask), "changed_voxels": changed_voxels(before, mask)}

    def _note(self, annotation: SubmittedAnnotation, outcome: str) -> None:
        tasks.note(self._conn, annotation.annotation_id, annotation.updated_at, annotation.task_id, outcome)


def _ref(task: Task) -> TaskRef:
    return TaskRef(task.task_id, task.label_id, task.round, task.slab, task.first_slice, task.slices)


def _sum(efforts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for effort in efforts:
        total.update(effort)
    return dict(total)
