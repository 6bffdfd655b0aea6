"""The learning curve: what each stage of the growth brought."""

from typing import Any

from rounds.db import Connection
from rounds.releases import store


def learning_curve(conn: Connection, scheme: str) -> list[dict[str, Any]]:
    """Return one row a stage, from the newest classification model of the stage and the segmentation that fed it."""
    stages: dict[int, dict[str, Any]] = {}
    for model in store.everything(conn):
        if model.scheme != scheme:
            continue
        row = stages.setdefault(
            model.stage,
            {
                "cases": model.stage,
                "dice": None,
                "auc": None,
                "sensitivity": None,
                "specificity": None,
                "model": {},
            },
        )
        measures = ("dice",) if model.task == "segmentation" else ("auc", "sensitivity", "specificity")
        row.update({measure: model.metrics.get(measure) for measure in measures})
        row["model"] = {**row["model"], model.task: model.id}
    return [stages[size] for size in sorted(stages)]
