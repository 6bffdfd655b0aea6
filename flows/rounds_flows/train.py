"""The training flow: one stage of a dataset version, fitted, evaluated on the frozen test set and registered.

PyTorch is imported by the task that trains, so that registering the flow stays quick.
"""

import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from prefect import flow, get_run_logger, task

from rounds.datasets import store as datasets
from rounds.datasets.model import stage_members
from rounds.datasets.store import Dataset
from rounds.db import connect
from rounds.objects import ObjectStore
from rounds.releases import store as releases
from rounds.releases.store import ModelVersion
from rounds.settings import load_settings
from rounds_flows.packing import pack, unpack
from rounds_flows.training_data import lay_out

ACTOR = "flow:train"
RECIPES = {"segmentation": "lesion_small", "classification": "covid_small"}


@flow(name="train")
def train(dataset: str, stage: int, task: str, recipe: str | None = None, seed: int = 0) -> int:
    """Train `task` on the first `stage` cases of a dataset version; return the number of the model version."""
    with connect(load_settings()) as conn:
        version = datasets.by_name(conn, dataset)
    folder = prepare(version, stage)
    return int(fit_and_register(version, stage, task, recipe or RECIPES[task], seed, folder))


@task(name="prepare")
def prepare(dataset: Dataset, stage: int) -> Path:
    """Bring the stage's scans and masks onto the training grid."""
    settings = load_settings()
    with connect(settings) as conn:
        members = stage_members(datasets.members(conn, dataset.id), stage)
    return lay_out(settings, ObjectStore.from_settings(settings), dataset, members)


@task(name="fit")
def fit_and_register(dataset: Dataset, stage: int, task: str, recipe: str, seed: int, data: Path) -> int:
    """Fit, evaluate on the test split, and keep the model with everything that made it."""
    from rounds_models import recipes
    from rounds_models.device import choose
    from rounds_models.evaluate import evaluate
    from rounds_models.fit import fit

    settings = load_settings()
    objects = ObjectStore.from_settings(settings)
    cache = settings.home / "cache" / "crops"
    chosen = recipes.load(recipe)
    with connect(settings) as conn:
        parent = (
            feeder(releases.everything(conn, "segmentation"), dataset.id, stage)
            if task == "classification"
            else None
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "model"
        masks_from = None
        if parent is not None:
            masks_from = Path(scratch) / "segmentation"
            masks_from.mkdir()
            unpack(objects.get(parent.weights), masks_from)
        fitted = fit(data, made, chosen, seed, segmentation=masks_from, cache=cache)
        result = evaluate(made, data, "test", segmentation=masks_from, cache=cache)
        weights = objects.put(pack(made), ".zip")
    shutil.rmtree(data, ignore_errors=True)
    with connect(settings) as conn, conn.transaction():
        model = releases.register(
            conn,
            ACTOR,
            task=task,
            scheme=dataset.scheme,
            dataset_id=dataset.id,
            stage=stage,
            recipe=asdict(chosen),
            seed=seed,
            weights=weights,
            metrics=result.document(),
            parent_id=parent.id if parent else None,
            seconds=time.monotonic() - started,
            device=choose("auto").type,
        )
    get_run_logger().info(
        "model %d: %s, %d steps, Dice %s, AUC %s", model.id, task, fitted.steps, result.dice, result.auc
    )
    return model.id


def feeder(segmentations: list[ModelVersion], dataset_id: int, stage: int) -> ModelVersion | None:
    """Return the newest segmentation model of the same stage, whose masks the classification is given in use."""
    same = [model for model in segmentations if (model.dataset_id, model.stage) == (dataset_id, stage)]
    return same[-1] if same else None
