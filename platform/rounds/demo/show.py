"""The whole demo: the stack, the scans, the people, the stages, and what to look at afterwards."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rounds.cases import store as cases
from rounds.cases.secret import key_ring
from rounds.db import connect
from rounds.demo.cast import Say, hire, operate
from rounds.demo.dicom import grid_of, write_scan
from rounds.demo.hospitals import PlannedScan, draw_cohort, manifest_csv
from rounds.demo.phantoms import make_phantom
from rounds.demo.play import Script, Stage, play
from rounds.demo.stagehands import Bench
from rounds.imaging.grid import Grid, Spacing
from rounds.imaging.pseudonyms import pseudonym
from rounds.imaging.resample_mask import resample_mask
from rounds.labels import store as labels
from rounds.labelstudio.schemes import load_scheme
from rounds.settings import Settings

SCHEME = "lesion"
SCRIPT = Script(stages=(Stage(21, 4), Stage(8, 12), Stage(20, 32)), test_share=16 / 21, seed=7)

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Truth:
    """What really is in a phantom scan: its lesions on the source grid."""

    lesion: Mask
    grid: Grid


class Scenery:
    """The phantom scans of a script, made in `folder` by two processes while other things go on."""

    def __init__(self, script: Script, folder: Path, say: Say) -> None:
        self.script = script
        self.folder = folder
        total = sum(stage.batch for stage in script.stages)
        self.cohort = draw_cohort(total, script.seed)
        say(
            f"making {len(self.cohort)} phantom scans as DICOM, as five hospitals and eleven scanners would write them"
        )
        self._processes = ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn"))
        self._making = [self._processes.submit(make_scan, planned, folder) for planned in self.cohort]

    def truths(self) -> dict[str, Truth]:
        """Wait for the scans, write a manifest a hospital, and return the truth by original patient id."""
        with self._processes:
            drawn = [making.result() for making in self._making]
        for hospital in {planned.hospital for planned in self.cohort}:
            rows = [planned for planned in self.cohort if planned.hospital == hospital]
            (self.folder / f"{hospital.key}.csv").write_text(manifest_csv(rows), encoding="utf-8")
        return {planned.patient.patient_id: truth for planned, truth in zip(self.cohort, drawn, strict=True)}


def run(settings: Settings, scenery: Scenery, say: Say) -> list[dict[str, Any]]:
    """Take the scenery's scans in and play every stage; return a row a stage."""
    hire(settings.home, say)
    truths = scenery.truths()
    take_in(settings, scenery.cohort, scenery.folder, say)
    bench = bench_of(settings, scenery.cohort, truths, scenery.script.seed)
    return play(bench, scenery.script, say)


def make_scan(planned: PlannedScan, folder: Path) -> Truth:
    """Draw one phantom, write it under its hospital, and return what really is in it."""
    phantom = make_phantom(planned.seed, planned.diagnosis, planned.spacing, planned.shape, planned.style)
    write_scan(planned, phantom, folder / planned.hospital.key / f"scan-{planned.number:03d}")
    return Truth(phantom.lesion.astype(np.uint8), grid_of(planned))


def take_in(settings: Settings, cohort: Sequence[PlannedScan], folder: Path, say: Say) -> None:
    """Ingest each hospital's folder with its manifest, side by side."""
    hospitals = sorted({planned.hospital for planned in cohort}, key=lambda hospital: hospital.key)

    def one(index: int) -> dict[str, Any]:
        hospital = hospitals[index]
        words = ("ingest", str(folder / hospital.key), "--site", hospital.name)
        found: dict[str, Any] = operate(
            settings.home, say, *words, "--manifest", str(folder / f"{hospital.key}.csv")
        )
        return found

    with ThreadPoolExecutor(len(hospitals)) as threads:
        outcomes = list(threads.map(one, range(len(hospitals))))
    accepted = sum(len(outcome["accepted"]) for outcome in outcomes)
    refused = [entry["reason"] for outcome in outcomes for entry in outcome["quarantined"]]
    reasons = ", ".join(f"{refused.count(reason)} {reason}" for reason in sorted(set(refused)))
    say(f"{accepted} cases; quarantined: {reasons or 'none'}")


def bench_of(settings: Settings, cohort: Sequence[PlannedScan], truths: dict[str, Truth], seed: int) -> Bench:
    """Give the simulated people what they need: each label's true lesions on the grid that readers see."""
    keys = key_ring(settings).keys
    known = {
        pseudonym(key, planned.hospital.name, planned.patient.patient_id): truths[planned.patient.patient_id]
        for planned in cohort
        for key in keys
    }

    @cache
    def seen(label_id: int) -> tuple[Mask, Spacing]:
        with connect(settings) as conn:
            case = cases.get(conn, labels.get(conn, label_id).case_id)
        truth = known[case.patient_id]
        reading = Grid.of(tuple(case.shape), np.array(case.affine))
        return resample_mask(truth.lesion, truth.grid, reading), reading.spacing

    return Bench(
        settings=settings,
        scheme=load_scheme(settings.annotation_configs, SCHEME),
        truth=lambda label_id: seen(label_id)[0],
        spacing=lambda label_id: seen(label_id)[1],
        seed=seed,
    )
