"""Tasks of labels in Label Studio: one per label and round, or one per slab, found again by their key."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rounds.labelstudio.client import Client
from rounds.labelstudio.codec import Mask, mask_to_results
from rounds.labelstudio.errors import LabelStudioRefused
from rounds.labelstudio.projects import Project
from rounds.labelstudio.schemes import HEADER_FIELD, IMAGES_FIELD

# Label Studio remembers the first prediction version of a project and hides all others from the labelling
# stream, so every pre-label goes under one name and its true version into the task's meta.
SHOWN_MODEL_VERSION = "rounds"


@dataclass(frozen=True)
class TaskSpec:
    """What an annotator is to draw: a label's round, its slices (presigned addresses, z order) and a pre-label.

    `prelabel` is a mask (z, y, x) or None; `header` the reasons of a requested revision, or empty.
    """

    label_id: int
    round: int
    slice_urls: tuple[str, ...]
    header: str = ""
    prelabel: Mask | None = None
    model_version: str = ""


@dataclass(frozen=True)
class TaskRef:
    """A task that exists: `slab` counts from 0, `first_slice` and `slices` say which part of the label it holds."""

    task_id: int
    label_id: int
    round: int
    slab: int
    first_slice: int
    slices: int


def ensure_tasks(client: Client, project: Project, spec: TaskSpec) -> tuple[TaskRef, ...]:
    """Return the tasks of `spec` in z order, making those that are missing; running it again adds nothing."""
    return tuple(
        _ensure_task(client, project, spec, slab, first, slices)
        for slab, first, slices in cut_slabs(len(spec.slice_urls), project.scheme.slab)
    )


def cut_slabs(slices: int, slab: int | None) -> list[tuple[int, int, int]]:
    """Return (slab, first slice, number of slices) for a case of `slices` slices."""
    size = slab or max(slices, 1)
    return [(number, first, min(size, slices - first)) for number, first in enumerate(range(0, slices, size))]


def merge_slabs(parts: Iterable[tuple[TaskRef, Mask]]) -> Mask:
    """Return the whole mask (z, y, x) of one label from its slabs; raise ValueError when one is missing or doubled."""
    ordered = sorted(parts, key=lambda part: part[0].first_slice)
    expected = 0
    for ref, mask in ordered:
        if ref.first_slice != expected or mask.shape[0] != ref.slices:
            raise ValueError(f"label {ref.label_id}: slab {ref.slab} does not continue at slice {expected}")
        expected += ref.slices
    return np.concatenate([mask for _, mask in ordered])


def refresh_urls(client: Client, ref: TaskRef, slice_urls: Sequence[str]) -> bool:
    """Replace the addresses of a task's slices by those of the whole label's; return False when it is gone."""
    path = f"/api/tasks/{ref.task_id}/"
    try:
        data = dict(client.get(path, resolve_uri="false")["data"])
        data[IMAGES_FIELD] = list(slice_urls[ref.first_slice : ref.first_slice + ref.slices])
        client.patch(path, {"data": data})
    except LabelStudioRefused as error:
        if error.status == 404:
            return False
        raise
    return True


def delete_task(client: Client, task_id: int) -> bool:
    """Delete a task with its annotations, as when a label is withdrawn; return False when it was gone already."""
    return client.delete(f"/api/tasks/{task_id}/")


def task_url(client: Client, project: Project, task_id: int) -> str:
    """Return the page on which the annotator draws this task."""
    return f"{client.url}/projects/{project.project_id}/data?task={task_id}"


def _ensure_task(
    client: Client, project: Project, spec: TaskSpec, slab: int, first_slice: int, slices: int
) -> TaskRef:
    key = f"{spec.label_id}/{spec.round}/{slab}"
    found = _find(client, project.project_id, key)
    if not found:
        task = _body(project, spec, key, first_slice, slices)
        answer = client.post(f"/api/projects/{project.project_id}/import", [task], return_task_ids="true")
        made = int(answer["task_ids"][0])
        found = _find(client, project.project_id, key)
        if found[0] != made:  # somebody made it at the same moment: the first one stays
            delete_task(client, made)
    return TaskRef(found[0], spec.label_id, spec.round, slab, first_slice, slices)


def _find(client: Client, project_id: int, key: str) -> list[int]:
    by_key = {"filter": "filter:tasks:data.key", "operator": "equal", "type": "String", "value": key}
    query = json.dumps({"filters": {"conjunction": "and", "items": [by_key]}, "ordering": ["tasks:id"]})
    tasks = client.get("/api/tasks/", project=project_id, include="id", query=query)["tasks"]
    return [int(task["id"]) for task in tasks]


def _body(project: Project, spec: TaskSpec, key: str, first_slice: int, slices: int) -> dict[str, Any]:
    part = slice(first_slice, first_slice + slices)
    task: dict[str, Any] = {
        "data": {
            IMAGES_FIELD: list(spec.slice_urls[part]),
            HEADER_FIELD: _header(project, spec, first_slice, slices),
            "key": key,
        },
        "meta": {
            "label": spec.label_id,
            "round": spec.round,
            "first_slice": first_slice,
            "model_version": spec.model_version,
        },
    }
    if spec.prelabel is not None:
        results = mask_to_results(spec.prelabel[part], project.scheme)
        task["predictions"] = [{"result": results, "model_version": SHOWN_MODEL_VERSION}]
    return task


def _header(project: Project, spec: TaskSpec, first_slice: int, slices: int) -> str:
    header = spec.header or project.scheme.title
    whole = len(spec.slice_urls)
    if slices == whole:
        return header
    return f"{header} (here: slices {first_slice + 1} to {first_slice + slices} of {whole})"
