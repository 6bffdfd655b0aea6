"""An annotator at work through Label Studio's HTTP API, under the person's own account and session."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from rounds.labelstudio.client import TIMEOUT_S, read_answer, unreachable
from rounds.labelstudio.codec import Result
from rounds.labelstudio.people import WHOAMI, log_in
from rounds.labelstudio.schemes import HEADER_FIELD, IMAGES_FIELD

WAITING_FIELDS = "id,total_annotations,cancelled_annotations"
PAGE = 50


@dataclass(frozen=True)
class OpenTask:
    """A task as the annotator sees it: slices in z order, header, and the pre-label's regions if it has one."""

    task_id: int
    slice_urls: tuple[str, ...]
    header: str
    label_id: int
    round: int
    first_slice: int
    prediction_id: int | None
    prelabel: tuple[Result, ...] | None


class AnnotatorSession:
    """A logged-in annotator; raises LabelStudioRefused for a wrong password."""

    def __init__(self, url: str, email: str, password: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = log_in(url, email, password, timeout_s=timeout_s)
        self.user_id = int(self._call("GET", WHOAMI)["id"])

    def __enter__(self) -> "AnnotatorSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def waiting(self, project_id: int) -> list[int]:
        """Return the ids of the project's tasks that nobody has submitted or skipped, oldest first."""
        waiting: list[int] = []
        page = 1
        while True:
            params = {"project": project_id, "include": WAITING_FIELDS, "page": page, "page_size": PAGE}
            answer = self._call("GET", "/api/tasks/", params=params)
            waiting.extend(
                int(task["id"])
                for task in answer["tasks"]
                if not (task["total_annotations"] or task["cancelled_annotations"])
            )
            if page * PAGE >= answer["total"]:
                return sorted(waiting)
            page += 1

    def open(self, task_id: int) -> OpenTask:
        """Read one task with its pre-label."""
        task = self._call("GET", f"/api/tasks/{task_id}/")
        prediction = task["predictions"][-1] if task["predictions"] else None
        return OpenTask(
            task_id=task_id,
            slice_urls=tuple(task["data"][IMAGES_FIELD]),
            header=str(task["data"][HEADER_FIELD]),
            label_id=int(task["meta"]["label"]),
            round=int(task["meta"]["round"]),
            first_slice=int(task["meta"]["first_slice"]),
            prediction_id=None if prediction is None else int(prediction["id"]),
            prelabel=None if prediction is None else tuple(prediction["result"]),
        )

    def submit(
        self, task_id: int, results: Sequence[Result], lead_time_s: float, *, prediction_id: int | None = None
    ) -> int:
        """Submit regions as a new annotation; return its id. The caller keeps each region's `origin` truthful."""
        body: dict[str, Any] = {"result": list(results), "lead_time": lead_time_s}
        if prediction_id is not None:
            body["parent_prediction"] = prediction_id
        return int(self._call("POST", f"/api/tasks/{task_id}/annotations/", body)["id"])

    def skip(self, task_id: int) -> int:
        """Skip a task; return the id of the cancelled annotation."""
        body = {"result": [], "was_cancelled": True}
        return int(self._call("POST", f"/api/tasks/{task_id}/annotations/", body)["id"])

    def draft(self, task_id: int, results: Sequence[Result]) -> int:
        """Save a draft, as the editor does on its own while a person draws; return its id."""
        return int(self._call("POST", f"/api/tasks/{task_id}/drafts", {"result": list(results)})["id"])

    def change(self, annotation_id: int, results: Sequence[Result], lead_time_s: float) -> None:
        """Change a submitted annotation, one's own or, as Label Studio allows it, another's."""
        body = {"result": list(results), "lead_time": lead_time_s}
        self._call("PATCH", f"/api/annotations/{annotation_id}/", body)

    def delete(self, annotation_id: int) -> None:
        """Delete a submitted annotation."""
        self._call("DELETE", f"/api/annotations/{annotation_id}/")

    def _call(self, method: str, path: str, body: Any = None, params: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.TransportError as error:
            raise unreachable(str(self._http.base_url), method, path, error) from None
        return read_answer(method, path, answer)
