"""Putting work before annotators: a task in Label Studio for every label that somebody has to draw."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rounds.cases import store as cases
from rounds.cases.store import Case
from rounds.db import Connection
from rounds.imaging.nifti import decode_mask, decode_volume
from rounds.imaging.render import slice_png
from rounds.labels import store, tasks
from rounds.labels.model import Stage
from rounds.labels.store import Label, Revision
from rounds.labelstudio.client import Client
from rounds.labelstudio.people import ensure_account
from rounds.labelstudio.projects import Project, ensure_project
from rounds.labelstudio.schemes import Scheme, load_scheme
from rounds.labelstudio.tasks import TaskRef, TaskSpec, ensure_tasks, refresh_urls
from rounds.objects import ObjectStore
from rounds.people import store as people
from rounds.settings import Settings


class Placer:
    """Places the tasks of labels, one Label Studio project per annotator and scheme; doing it again adds nothing."""

    def __init__(self, settings: Settings, conn: Connection, client: Client, objects: ObjectStore) -> None:
        self._settings = settings
        self._conn = conn
        self._client = client
        self._objects = objects
        self._projects: dict[tuple[int, str], Project] = {}
        self._lifetime = timedelta(days=settings.slice_url_days)

    def place(self, label_id: int) -> None:
        """Make the task (or slabs) of a label's coming round, with what it starts from as a prediction."""
        label = store.get(self._conn, label_id)
        if label.stage not in (Stage.ANNOTATING, Stage.REVISING) or label.annotator_id is None:
            return
        parent = self._parent(label)
        project = self._project(label.annotator_id, label.scheme)
        expires = datetime.now(UTC) + self._lifetime
        spec = TaskSpec(
            label_id=label.id,
            round=label.round + 1,
            slice_urls=self._slice_urls(cases.get(self._conn, label.case_id), project.scheme),
            header=self._header(label, project.scheme),
            prelabel=decode_mask(self._objects.get(parent.mask))[0] if parent else None,
            model_version=str(parent.model_id or "") if parent else "",
        )
        for ref in ensure_tasks(self._client, project, spec):
            task = tasks.Task(
                label_id=label.id,
                round=label.round + 1,
                slab=ref.slab,
                project_id=project.project_id,
                task_id=ref.task_id,
                annotator_id=label.annotator_id,
                parent_id=parent.id if parent else None,
                first_slice=ref.first_slice,
                slices=ref.slices,
                urls_expire_at=expires,
            )
            tasks.keep(self._conn, task)

    def refresh(self, task: tasks.Task) -> None:
        """Give a task that is still open new slice addresses; strike it when somebody deleted it."""
        label = store.get(self._conn, task.label_id)
        scheme = load_scheme(self._settings.annotation_configs, label.scheme)
        urls = self._slice_urls(cases.get(self._conn, label.case_id), scheme)
        ref = TaskRef(task.task_id, task.label_id, task.round, task.slab, task.first_slice, task.slices)
        expires = datetime.now(UTC) + self._lifetime
        if refresh_urls(self._client, ref, urls):
            self._conn.execute(
                "UPDATE tasks SET urls_expire_at = %s WHERE task_id = %s", (expires, task.task_id)
            )
        else:
            tasks.forget(self._conn, task.task_id)

    def _project(self, annotator_id: int, scheme: str) -> Project:
        if (annotator_id, scheme) not in self._projects:
            person = people.by_id(self._conn, annotator_id)
            ensure_account(self._client, person.email)
            self._projects[annotator_id, scheme] = ensure_project(
                self._client,
                person.email,
                load_scheme(self._settings.annotation_configs, scheme),
                self._settings.service_url,
            )
        return self._projects[annotator_id, scheme]

    def _parent(self, label: Label) -> Revision | None:
        if label.revision_id is not None:
            return store.revision(self._conn, label.revision_id)
        return store.prelabel(self._conn, label.id)

    def _slice_urls(self, case: Case, scheme: Scheme) -> tuple[str, ...]:
        first = load_scheme(self._settings.annotation_configs, self._settings.schemes[0])
        refs: Sequence[str] = case.slices
        if scheme.window != first.window:
            volume = decode_volume(self._objects.get(case.volume))
            refs = [self._objects.put(slice_png(plane, scheme.window), ".png") for plane in volume.array]
        return tuple(self._objects.presign(ref, self._lifetime) for ref in refs)

    def _header(self, label: Label, scheme: Scheme) -> str:
        """Say what is wanted: for a revision, why it was asked for, without who said so."""
        if label.stage is not Stage.REVISING:
            return scheme.title
        found = self._conn.execute(
            """
            SELECT reasons, slices, note FROM checks
            WHERE label_id = %(label)s AND revision_id = %(revision)s AND verdict = 'fail'
            UNION ALL
            SELECT reasons, slices, note FROM audits
            WHERE label_id = %(label)s AND revision_id = %(revision)s AND verdict = 'fail'
            """,
            {"label": label.id, "revision": label.revision_id},
        )
        return "Please revise: " + "; ".join(
            _sentence(row["reasons"], row["slices"], row["note"]) for row in found
        )


def _sentence(reasons: Sequence[str], slices: Sequence[int], note: str) -> str:
    where = f" (slice {', '.join(str(index + 1) for index in slices)})" if slices else ""
    said = f": {note}" if note else ""
    return ", ".join(reason.replace("_", " ") for reason in reasons) + where + said
