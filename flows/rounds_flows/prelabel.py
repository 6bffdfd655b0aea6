"""The pre-label flow: the promoted model draws first, for every label of a batch that nobody has drawn yet.

PyTorch is imported by what needs it only: it takes seconds, and most runs of the batch flow have nothing to predict.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger, task

from rounds.batches import store as batches
from rounds.cases import store as cases
from rounds.db import Connection, connect
from rounds.imaging.nifti import decode_volume, encode_mask
from rounds.imaging.resample import to_training_grid
from rounds.imaging.resample_mask import resample_mask
from rounds.labels import store as labels
from rounds.labels.model import Stage
from rounds.objects import ObjectStore
from rounds.releases import store as releases
from rounds.releases.store import ModelVersion
from rounds.settings import load_settings
from rounds.trail.store import record
from rounds_flows.packing import unpack

if TYPE_CHECKING:
    from rounds_models.model import Model

ACTOR = "flow:prelabel"


@flow(name="prelabel")
def prelabel(batch_id: int) -> int:
    """Give the fresh labels of a batch a revision by the promoted segmentation model; return how many."""
    with connect(load_settings()) as conn:
        wanted = fresh(conn, batch_id)
        model = releases.promoted(conn, "segmentation", batches.get(conn, batch_id).scheme)
    if model is None or not wanted:
        return 0
    return int(draw(wanted, model))


def fresh(conn: Connection, batch_id: int) -> list[int]:
    """Return the labels of a batch that are to be drawn for the first time and have no pre-label yet."""
    return [
        label.id
        for label in labels.of_batch(conn, batch_id)
        if label.stage is Stage.ANNOTATING and label.round == 0 and labels.prelabel(conn, label.id) is None
    ]


@task(name="draw")
def draw(label_ids: list[int], version: ModelVersion) -> int:
    """Draw each label with one model, loaded once; return how many were drawn."""
    from rounds_models.model import load

    settings = load_settings()
    objects = ObjectStore.from_settings(settings)
    with tempfile.TemporaryDirectory() as scratch, connect(settings) as conn:
        unpack(objects.get(version.weights), Path(scratch))
        model = load(Path(scratch), task="segmentation")
        for label_id in label_ids:
            _draw_one(conn, objects, model, version, label_id)
    get_run_logger().info("model %d drew %d labels", version.id, len(label_ids))
    return len(label_ids)


def _draw_one(
    conn: Connection, objects: ObjectStore, model: Model, version: ModelVersion, label_id: int
) -> None:
    """Predict on the training grid and keep the mask, on the reading grid, as the model's revision."""
    from rounds_models.predict import predict_volume

    case = cases.get(conn, labels.get(conn, label_id).case_id)
    reading = decode_volume(objects.get(case.volume))
    training = to_training_grid(reading)
    predicted = predict_volume(model, training.array, training.spacing).mask
    mask = resample_mask(predicted, training.grid, reading.grid)
    ref = objects.put(encode_mask(mask, reading.affine), ".nii.gz")
    with conn.transaction():
        if labels.get(conn, label_id, lock=True).round == 0 and labels.prelabel(conn, label_id) is None:
            revision = labels.add_revision(conn, label_id, ref, model_id=version.id)
            record(
                conn,
                ACTOR,
                "prelabel",
                "label",
                label_id,
                detail={"model": version.id, "revision": revision.id},
            )
