"""Simulated people at the real interfaces: annotators over Label Studio's HTTP API, all others over the service's."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from rounds.demo import readers
from rounds.demo.cast import PASSWORD, Actor
from rounds.imaging.nifti import decode_mask
from rounds.labelstudio.annotator import AnnotatorSession, OpenTask
from rounds.labelstudio.codec import Result, mask_to_results, results_to_mask
from rounds.labelstudio.schemes import Scheme
from rounds.settings import Settings

Mask = npt.NDArray[np.uint8]
Truth = Callable[[int], Mask]
"""Gives the true lesions (z, y, x) of a label's case on its reading grid."""


@dataclass(frozen=True)
class Bench:
    """What everybody works with: where things are, what is drawn, the truth, and the seed of all chance."""

    settings: Settings
    scheme: Scheme
    truth: Truth
    spacing: Callable[[int], tuple[float, float, float]]
    seed: int

    def chance(self, actor: Actor, label: int, round_: int) -> np.random.Generator:
        """Return the actor's own randomness for one label and round, the same in every run of the same seed."""
        told = f"{self.seed} {actor.email} {label} {round_}"
        return np.random.default_rng(random.Random(told).getrandbits(64))


def annotate(bench: Bench, actor: Actor, project_id: int) -> int:
    """Draw everything that waits in the annotator's project; return how many tasks were submitted."""
    url = bench.settings.require("labelstudio_url")
    with AnnotatorSession(url, actor.email, PASSWORD) as session:
        waiting = session.waiting(project_id)
        for task_id in waiting:
            _draw(bench, actor, session, session.open(task_id))
    return len(waiting)


def _draw(bench: Bench, actor: Actor, session: AnnotatorSession, task: OpenTask) -> None:
    truth = bench.truth(task.label_id)
    chance = bench.chance(actor, task.label_id, task.round)
    spacing = bench.spacing(task.label_id)
    given = None if task.prelabel is None else results_to_mask(task.prelabel, _shape(truth), bench.scheme)
    if task.round > 1 and given is not None:
        drawn = readers.revise(given, truth, readers.named(task.header), chance, spacing)
    else:
        drawn = readers.annotate(truth, given, chance, spacing)
    results = as_drawn(task.prelabel, given, drawn.mask, bench.scheme)
    session.submit(task.task_id, results, drawn.seconds, prediction_id=task.prediction_id)


def as_drawn(
    prelabel: tuple[Result, ...] | None, given: Mask | None, drawn: Mask, scheme: Scheme
) -> list[Result]:
    """Return the regions of `drawn` with the origin that the editor would give them, a region a slice and label."""
    if prelabel is None or given is None:
        return [{**region, "origin": "manual"} for region in mask_to_results(drawn, scheme)]
    offered = {region["item_index"]: region for region in prelabel}
    regions: list[Result] = []
    for region in mask_to_results(drawn, scheme):
        z = int(region["item_index"])
        if z in offered and np.array_equal(given[z], drawn[z]):
            regions.append({**offered[z], "origin": "prediction"})
        elif z in offered:
            regions.append({**region, "id": offered[z]["id"], "origin": "prediction-changed"})
        else:
            regions.append({**region, "origin": "manual"})
    return regions


class Desk:
    """Somebody logged in to the service."""

    def __init__(self, bench: Bench, actor: Actor) -> None:
        self._bench = bench
        self.actor = actor
        self._http = httpx.Client(base_url=bench.settings.require("service_url"), timeout=60, trust_env=False)
        answer = self._call("POST", "/api/login", {"email": actor.email, "password": PASSWORD})
        self._http.headers["Authorization"] = f"Bearer {answer['token']}"

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check_all(self) -> int:
        """Give a verdict on everything that waits for this checker; return how many."""
        return self._judge_all("checks", readers.check)

    def audit_all(self) -> int:
        """Audit everything that waits for this senior; return how many."""
        return self._judge_all("audits", readers.audit)

    def decide(self, batch_id: int) -> str:
        """Accept a batch unless more than one drawn label failed; return the verdict."""
        audit = self._call("GET", f"/api/batches/{batch_id}")["audit"]
        verdict = "accept" if audit["failed"] <= 1 else "reject"
        note = "" if verdict == "accept" else f"{audit['failed']} of {audit['drawn']} audited labels failed"
        self._call("POST", f"/api/batches/{batch_id}/decision", {"verdict": verdict, "note": note})
        return verdict

    def _judge_all(self, what: str, judge: Callable[..., readers.Verdict]) -> int:
        waiting = self._call("GET", f"/api/{what}/queue")
        for entry in waiting:
            label = int(entry["label_id"])
            shown = self._call("GET", f"/api/labels/{label}")
            answer = self._http.get(f"/api/labels/{label}/mask")
            answer.raise_for_status()
            mask, _ = decode_mask(answer.content)
            chance = self._bench.chance(self.actor, label, shown["round"])
            found = judge(mask, self._bench.truth(label), chance, self._bench.spacing(label))
            body = {
                "verdict": "pass" if found.passed else "fail",
                "reasons": list(found.reasons),
                "slices": list(found.slices),
                "note": found.note,
            }
            self._call("POST", f"/api/labels/{label}/{what}", body)
        return len(waiting)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()


def _shape(mask: Mask) -> tuple[int, int, int]:
    z, y, x = mask.shape
    return z, y, x
