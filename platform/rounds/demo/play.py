"""The demo: phantom scans go round the whole loop, stage by stage, everybody at his real interface."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rounds.batches import quality
from rounds.db import Connection, connect
from rounds.demo.cast import Say, of_role, operate
from rounds.demo.stagehands import Bench, Desk, annotate
from rounds.reports import time_spent

MEASURES = {"segmentation": ("dice",), "classification": ("auc", "sensitivity", "specificity")}
PATIENCE = 180.0  # seconds without any movement before the demo says what it waits for


class Stuck(Exception):
    """The batch no longer moves."""


@dataclass(frozen=True)
class Stage:
    """One step of the growth: cases to label in this batch, and cases to train on when it is accepted."""

    batch: int
    train: int


@dataclass(frozen=True)
class Script:
    """What is played; the first batch holds the test set too. `recipes` replace the tasks' own, by task."""

    stages: tuple[Stage, ...]
    test_share: float
    seed: int
    recipes: Mapping[str, str] = field(default_factory=dict)


def play(bench: Bench, script: Script, say: Say) -> list[dict[str, Any]]:
    """Play all stages; return a row for each."""
    rows = []
    for number, stage in enumerate(script.stages, 1):
        say(f"stage {number} of {len(script.stages)}: {stage.batch} new cases, training on {stage.train}")
        home = bench.settings.home
        opened = operate(home, say, "batch", "open", "--size", str(stage.batch))
        quality_row = run_batch(bench, opened["batch"], say)
        frozen = operate(home, say, "dataset", "freeze", "--test-share", f"{script.test_share:.2f}")
        models = train(bench, stage, frozen["dataset"], script, say)
        counts = {"stage": number, "new_cases": stage.batch, "cases": stage.train}
        rows.append({**counts, **quality_row, **models, **_time(bench, opened["batch"])})
    return rows


def run_batch(bench: Bench, batch_id: int, say: Say) -> dict[str, Any]:
    """Annotate, check, revise, audit and decide until the batch is accepted."""
    with ExitStack() as desks, connect(bench.settings) as conn:
        checkers = [desks.enter_context(Desk(bench, actor)) for actor in of_role("checker")]
        seniors = [desks.enter_context(Desk(bench, actor)) for actor in of_role("senior")]
        reviewer = desks.enter_context(Desk(bench, of_role("qa")[0]))
        moved = time.monotonic()
        while True:
            state = quality.summary(conn, batch_id)["state"]
            done = _draw(bench, conn, say)
            done += _side_by_side(say, "checked", [desk.check_all for desk in checkers])
            done += _side_by_side(say, "audited", [desk.audit_all for desk in seniors])
            if state == "deciding":
                say(f"the QA reviewer decides: {reviewer.decide(batch_id)}")
                done += 1
            if state == "accepted":
                return _quality(quality.summary(conn, batch_id))
            if done:
                moved = time.monotonic()
            elif time.monotonic() - moved > PATIENCE:
                labels = quality.summary(conn, batch_id)["labels"]
                raise Stuck(
                    f"batch {batch_id} has not moved for {PATIENCE:.0f} s ({labels}): see `rounds status`"
                )
            else:
                time.sleep(0.5)


def train(bench: Bench, stage: Stage, dataset: str, script: Script, say: Say) -> dict[str, Any]:
    """Train both models on the frozen version; promote each that is no worse than the one that stands."""
    made: dict[str, Any] = {}
    for task, measures in MEASURES.items():
        words = ["train", "--stage", str(stage.train), "--task", task, "--dataset", dataset]
        if task in script.recipes:
            words += ["--recipe", script.recipes[task]]
        model = operate(bench.settings.home, say, *words, "--seed", str(script.seed))
        made.update({measure: model["metrics"][measure] for measure in measures})
        _promote_if_best(bench, task, model["id"], measures[0], say)
    return made


def _promote_if_best(bench: Bench, task: str, made: int, measure: str, say: Say) -> None:
    rivals = [m for m in operate(bench.settings.home, say, "models", "list") if m["task"] == task]
    if max(rivals, key=lambda m: (m[measure] or 0, m["model"]))["model"] == made:
        operate(bench.settings.home, say, "models", "promote", str(made))


def _draw(bench: Bench, conn: Connection, say: Say) -> int:
    """Have every annotator draw what waits for him; Label Studio's doorbell rings for the sync."""
    projects = {
        row["email"]: row["project_id"]
        for row in conn.execute(
            """
            SELECT DISTINCT p.email, t.project_id FROM tasks t
            JOIN labels l ON l.id = t.label_id JOIN people p ON p.id = t.annotator_id
            WHERE l.stage IN ('annotating', 'revising') AND t.round = l.round + 1
            """
        )
    }
    work = [
        partial(annotate, bench, actor, projects[actor.email])
        for actor in of_role("annotator")
        if actor.email in projects
    ]
    return _side_by_side(say, "drawn", work)


def _side_by_side(say: Say, what: str, work: Sequence[Callable[[], int]]) -> int:
    if not work:
        return 0
    with ThreadPoolExecutor(len(work)) as threads:
        done = sum(future.result() for future in [threads.submit(one) for one in work])
    if done:
        say(f"{done} {what}")
    return done


def _quality(found: dict[str, Any]) -> dict[str, Any]:
    audit = found["audit"]
    return {
        "first_pass": found["first_pass_rate"],
        "kappa": found["kappa"],
        "audited": f"{audit['audited']} of {audit['of']}",
        "audit_failed": audit["failed"],
        "defective_at_most": audit["upper_bound_95"],
    }


def _time(bench: Bench, batch_id: int) -> dict[str, Any]:
    with connect(bench.settings) as conn:
        row = next(r for r in time_spent(conn) if r["batch"] == batch_id)
    return {
        "prelabelled": row["prelabelled"],
        "seconds_per_label": row["median_seconds"],
        "regions_kept": row["regions_kept"],
    }
