"""One Label Studio project per annotator and scheme, found again by a marker, with a doorbell to Rounds."""

import logging
from dataclasses import dataclass
from typing import Any

from rounds.labelstudio.client import Client
from rounds.labelstudio.errors import LabelStudioRefused
from rounds.labelstudio.schemes import Scheme

log = logging.getLogger(__name__)

HOOK_PATH = "/hooks/labelstudio"
HOOK_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
TITLE_LENGTH = 50


@dataclass(frozen=True)
class Project:
    """The project of one annotator and scheme; `doorbell` is False when Label Studio refuses to ring us."""

    project_id: int
    scheme: Scheme
    annotator_email: str
    doorbell: bool


def ensure_project(client: Client, email: str, scheme: Scheme, service_url: str | None = None) -> Project:
    """Return the project of this annotator and scheme, made or brought up to date where needed.

    It is found by the marker in its description, so a person may rename it. Changing the drawing
    configuration under existing annotations is refused by Label Studio and raises LabelStudioRefused.
    """
    marker = project_marker(email, scheme.name)
    found = _find(client, marker)
    if found:
        _update(client, found[0], scheme)
    else:
        made = _create(client, email, scheme, marker)
        found = _find(client, marker)
        if found[0] != made:  # somebody made it at the same moment: the first one stays
            client.delete(f"/api/projects/{made}/")
    project_id = found[0]
    doorbell = service_url is not None and _ensure_doorbell(client, project_id, service_url)
    return Project(project_id, scheme, email.lower(), doorbell)


def project_marker(email: str, scheme: str) -> str:
    """Return the description by which a project is known again."""
    return f"Rounds: scheme {scheme}, annotator {email.lower()}. Do not edit."


def project_url(client: Client, project: Project) -> str:
    """Return the page on which the annotator finds the project's tasks."""
    return f"{client.url}/projects/{project.project_id}/data"


def _find(client: Client, marker: str) -> list[int]:
    listed = client.pages("/api/projects/", include="id,description")
    return sorted(int(project["id"]) for project in listed if project.get("description") == marker)


def _wanted(scheme: Scheme) -> dict[str, Any]:
    return {
        "label_config": scheme.config,
        "show_collab_predictions": True,
        "enable_empty_annotation": True,
        "maximum_annotations": 1,
        "show_skip_button": True,
        "skip_queue": "REQUEUE_FOR_ME",
    }


def _create(client: Client, email: str, scheme: Scheme, marker: str) -> int:
    title = f"{scheme.title}: {email.lower().partition('@')[0]}"[:TITLE_LENGTH]
    body = {"title": title, "description": marker, **_wanted(scheme)}
    return int(client.post("/api/projects/", body)["id"])


def _update(client: Client, project_id: int, scheme: Scheme) -> None:
    stands = client.get(f"/api/projects/{project_id}/")
    changed = {name: value for name, value in _wanted(scheme).items() if stands.get(name) != value}
    if changed:
        client.patch(f"/api/projects/{project_id}/", changed)


def _ensure_doorbell(client: Client, project_id: int, service_url: str) -> bool:
    """Register the webhook without payload; polling finds the truth, so a refusal is no failure."""
    url = service_url.rstrip("/") + HOOK_PATH
    hooks = client.get("/api/webhooks/", project=project_id)
    mine = [hook for hook in hooks if hook.get("project") == project_id and hook["url"].endswith(HOOK_PATH)]
    if any(hook["url"] == url and hook["is_active"] and not hook["send_payload"] for hook in mine):
        return True
    for hook in mine:
        client.delete(f"/api/webhooks/{hook['id']}/")
    body = {
        "url": url,
        "project": project_id,
        "send_payload": False,
        "send_for_all_actions": False,
        "actions": list(HOOK_ACTIONS),
        "is_active": True,
    }
    try:
        client.post("/api/webhooks/", body)
    except LabelStudioRefused as error:
        log.warning("project %d gets no webhook (status %d); polling goes on", project_id, error.status)
        return False
    return True
