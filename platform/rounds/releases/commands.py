"""`rounds train` and `rounds models`: train a stage, look at model versions, promote and roll back."""

from dataclasses import asdict

import click

from rounds.datasets import store as datasets
from rounds.datasets.model import NotEnough, stage_members
from rounds.db import connect
from rounds.orchestration import start_flow, wait_for
from rounds.releases import store
from rounds.releases.store import ModelVersion
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, progress, table

TASKS = click.Choice(["segmentation", "classification"])


@click.command()
@click.option("--stage", required=True, type=click.IntRange(min=1), help="How many cases to train on.")
@click.option("--task", required=True, type=TASKS)
@click.option("--scheme", default="lesion", show_default=True)
@click.option("--dataset", "name", help="Dataset version; the newest when not given.")
@click.option("--recipe", help="Recipe; the task's own when not given.")
@click.option("--seed", default=0, show_default=True, type=int)
@json_option
def train(
    stage: int, task: str, scheme: str, name: str | None, recipe: str | None, seed: int, as_json: bool
) -> None:
    """Train one stage and register the model version with its metrics on the frozen test set."""
    settings = load_settings()
    with connect(settings) as conn:
        dataset = datasets.by_name(conn, name) if name else datasets.newest(conn, scheme)
        if dataset is None:
            raise NotEnough(f"no dataset version of {scheme} is frozen yet: run `rounds dataset freeze`")
        stage_members(datasets.members(conn, dataset.id), stage)
        known = {model.id for model in store.everything(conn, task)}
    parameters = {"dataset": dataset.name, "stage": stage, "task": task, "recipe": recipe, "seed": seed}
    run = start_flow(settings, "train", parameters)
    with progress() as bar:
        bar.add_task(f"training {task} on {stage} cases", total=None)
        wait_for(settings, run)
    with connect(settings) as conn:
        made = [m for m in store.everything(conn, task) if m.id not in known and m.stage == stage]
    row = _row(made[-1])
    emit({**asdict(made[-1]), **row}, as_json, table("Trained", [row]))


@click.group()
def models() -> None:
    """List, show, promote and roll back model versions."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the model versions, oldest first, and say which stand."""
    with connect(load_settings()) as conn:
        found = store.everything(conn)
        pairs = {(model.task, model.scheme) for model in found}
        stand = {model.id for pair in pairs if (model := store.promoted(conn, *pair))}
    rows = [{**_row(model), "promoted": model.id in stand} for model in found]
    emit(rows, as_json, table("Model versions", rows))


@models.command()
@click.argument("model_id", type=int)
@json_option
def show(model_id: int, as_json: bool) -> None:
    """Show everything that made a model version."""
    with connect(load_settings()) as conn:
        model = store.get(conn, model_id)
        dataset = datasets.by_id(conn, model.dataset_id)
    data = {**asdict(model), "dataset": dataset.name, "manifest_sha256": dataset.manifest.split(".")[0]}
    emit(data, as_json, table(f"Model {model_id}", [{"what": k, "value": v} for k, v in data.items()]))


@models.command()
@click.argument("model_id", type=int)
@json_option
def promote(model_id: int, as_json: bool) -> None:
    """Let a model version stand for its task: it pre-labels the next batch."""
    with connect(load_settings()) as conn, conn.transaction():
        row = _row(store.promote(conn, model_id, "operator"))
    emit(row, as_json, table("Promoted", [row]))


@models.command()
@click.option("--task", required=True, type=TASKS)
@click.option("--scheme", default="lesion", show_default=True)
@json_option
def rollback(task: str, scheme: str, as_json: bool) -> None:
    """Take the standing model version off; the one before it stands again."""
    with connect(load_settings()) as conn, conn.transaction():
        row = _row(store.roll_back(conn, task, scheme, "operator"))
    emit(row, as_json, table("Stands again", [row]))


def _row(model: ModelVersion) -> dict[str, object]:
    metrics = {name: model.metrics.get(name) for name in ("dice", "auc", "sensitivity", "specificity")}
    return {
        "model": model.id,
        "task": model.task,
        "stage": model.stage,
        "recipe": model.recipe.get("name"),
        **metrics,
    }
