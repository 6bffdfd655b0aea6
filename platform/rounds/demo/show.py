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
from rounds.cases.secret import pseudonym_key
from rounds.db import connect
from rounds.demo.cast import Say, hire, operate
from rounds.demo.dicom import grid_of, write_scan
from rounds.demo.hospitals import PlannedScan, draw_cohort, manifest_csv
from rounds.demo.phantoms import make_phantom
from rounds.demo.play import Script, Stage, play
from rounds.demo.stagehands import Bench
from rounds.imaging.grid import Grid, Spacing
from rounds.imaging.pseudonyms import pseudonym
from rounds.imaging.resample import resample_mask
from rounds.labels import store as labels
from rounds.labelstudio.schemes import load_scheme
from rounds.settings import Settings

SCHEME = "lesion"
SCRIPT = Script(stages=(Stage(26, 10), Stage(10, 20), Stage(20, 40)), test_share=16 / 26, seed=7)

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Truth:
    """What really is in a phantom scan: its lesions on the source grid."""

    lesion: Mask
    grid: Grid


def run(settings: Settings, folder: Path, script: Script, say: Say) -> list[dict[str, Any]]:
    """Make phantom scans in `folder`, take them in, and play every stage; return a row a stage."""
    total = sum(stage.batch for stage in script.stages)
    say(f"making {total} phantom scans as DICOM, as five hospitals and eleven scanners would write them")
    cohort = draw_cohort(total, script.seed)
    truths = make_scans(cohort, folder)
    hire(settings.home, say)
    take_in(settings, cohort, folder, say)
    return play(bench_of(settings, cohort, truths, script.seed), script, say)


def make_scans(cohort: Sequence[PlannedScan], folder: Path) -> dict[str, Truth]:
    """Write every planned scan and a manifest a hospital; return the truth by original patient id."""
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as processes:
        drawn = list(processes.map(make_scan, cohort, [folder] * len(cohort), chunksize=4))
    for hospital in {planned.hospital for planned in cohort}:
        rows = [planned for planned in cohort if planned.hospital == hospital]
        (folder / f"{hospital.key}.csv").write_text(manifest_csv(rows), encoding="utf-8")
    return {planned.patient.patient_id: truth for planned, truth in zip(cohort, drawn, strict=True)}


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
    key = pseudonym_key(settings)
    known = {
        pseudonym(key, planned.hospital.name, planned.patient.patient_id): truths[planned.patient.patient_id]
        for planned in cohort
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
