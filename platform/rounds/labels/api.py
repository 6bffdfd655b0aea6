"""Labels over HTTP: what to look at, its pixels, its history, and taking it out or giving it to somebody else."""

from typing import Any

from fastapi import APIRouter, BackgroundTasks, Response
from pydantic import BaseModel, ConfigDict, Field

from rounds.labels import service, store, views
from rounds.labels.model import IllegalMove
from rounds.people import store as people
from rounds.people.model import Role
from rounds.people.views import require_any
from rounds.web import effects, pixels
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pixels import UnknownSlice

router = APIRouter(prefix="/api/labels", tags=["labels"])
PRIVATE = {"Cache-Control": "private, max-age=3600"}
CLOSED = {"Cache-Control": "private, no-cache"}


class Withdrawal(BaseModel):
    """Why a label leaves the cycle."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=2000)


class Reassignment(BaseModel):
    """Who draws a label from now on, and why."""

    model_config = ConfigDict(extra="forbid")
    annotator: str = Field(max_length=320, description="the annotator's email")
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/{label_id}")
def show(label_id: int, conn: Conn, reader: Reader, running: Running) -> dict[str, Any]:
    """Return a label as the reader may see it, with everything that a viewer needs."""
    seen = views.view(conn, label_id, reader)
    scheme = running.scheme(seen.label.scheme)
    classes = [{"name": c.name, "value": c.value, "colour": c.colour} for c in scheme.labels]
    return {**views.document(seen), "labels": classes, "window": list(scheme.window)}


@router.get("/{label_id}/history")
def show_history(label_id: int, conn: Conn, reader: Reader) -> list[dict[str, Any]]:
    """Return what happened to a label; closed to its checkers while they check it."""
    lines = views.lines(conn, store.get(conn, label_id), reader)
    return [{"at": line.at, "who": line.who, "what": line.what, "note": line.note} for line in lines]


@router.get("/{label_id}/mask")
def show_mask(label_id: int, conn: Conn, reader: Reader, running: Running) -> Response:
    """Return the standing revision's mask as .nii.gz bytes."""
    ref, _ = views.mask_ref(conn, label_id, reader)
    name = {"Content-Disposition": f'attachment; filename="label-{label_id}.nii.gz"'}
    return Response(running.objects.get(ref), media_type="application/gzip", headers={**CLOSED, **name})


@router.get("/{label_id}/extent")
def show_extent(
    label_id: int, conn: Conn, reader: Reader, running: Running, r: int | None = None
) -> dict[str, Any]:
    """Return how many labelled voxels each slice has, inferior to superior."""
    ref, _ = views.mask_ref(conn, label_id, reader, r)
    return {"voxels": pixels.voxels(running.masks.get(ref))}


@router.get("/{label_id}/slices/{index}.png")
def show_slice(label_id: int, index: int, conn: Conn, reader: Reader, running: Running) -> Response:
    """Return one slice of the case as PNG, windowed for the scheme; 0 is the most inferior."""
    ref = views.slice_ref(conn, label_id, index, reader)
    if ref is None:
        raise UnknownSlice(f"slice {index} does not exist")
    return Response(running.objects.get(ref), media_type="image/png", headers=PRIVATE)


@router.get("/{label_id}/overlays/{index}.png")
def show_overlay(
    label_id: int, index: int, conn: Conn, reader: Reader, running: Running, r: int | None = None
) -> Response:
    """Return one slice of the standing mask as transparent PNG; with `r`, only while that revision stands."""
    ref, scheme = views.mask_ref(conn, label_id, reader, r)
    colours = {label.value: label.colour for label in running.scheme(scheme).labels}
    data = pixels.overlay(running.masks.get(ref), index, colours)
    return Response(data, media_type="image/png", headers=CLOSED if r is None else PRIVATE)


@router.post("/{label_id}/withdraw")
def withdraw(label_id: int, body: Withdrawal, conn: Conn, reader: Reader) -> dict[str, Any]:
    """Take a label out of the cycle for good, with a reason."""
    require_any(reader, Role.ADMIN, Role.ENGINEER)
    with conn.transaction():
        label = service.withdraw(conn, label_id, reader.actor, body.reason)
    return {"label": label.id, "stage": str(label.stage)}


@router.post("/{label_id}/reassign")
def reassign(
    label_id: int, body: Reassignment, conn: Conn, reader: Reader, running: Running, later: BackgroundTasks
) -> dict[str, Any]:
    """Give a label that is being drawn to another annotator."""
    require_any(reader, Role.ADMIN, Role.ENGINEER, Role.SENIOR)
    if not body.reason.strip():
        raise IllegalMove("a label is given to somebody else with a reason: say why")
    with conn.transaction():
        service.reassign(conn, label_id, people.by_email(conn, body.annotator), reader.actor, body.reason)
        label = store.get(conn, label_id)
    if label.batch_id is not None:
        later.add_task(effects.ask_for_tasks, running.settings, label.batch_id)
    return {"label": label.id, "stage": str(label.stage)}
