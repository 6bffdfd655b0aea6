"""The ingest flow: one task per series, and nothing in Prefect that could tell who a patient is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from rounds.cases import keys, sources, spool, store, vault
from rounds.cases.intake import ACTOR, Intake, key_of_files, set_aside, take_in
from rounds.cases.model import Outcome, PatientFacts, read_manifest
from rounds.cases.sources import Opened
from rounds.db import Connection, connect
from rounds.imaging.pseudonyms import date_shift, pseudonym
from rounds.imaging.series import Found
from rounds.labelstudio.schemes import load_scheme
from rounds.objects import ObjectStore
from rounds.settings import Settings, load_settings


class IngestFailed(Exception):
    """A series could not be taken in, for a reason that is not the scan's; says nothing about the scan."""


RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2)


@flow(name="ingest", task_runner=RUNNER)
def ingest(ticket: str) -> None:
    """Take in every series under the path of the operator's request."""
    settings = load_settings()
    request = spool.request_of(settings, ticket)
    vault.sweep(settings.home)
    with sources.opened(settings.home, request.path) as source:
        found = source.find()
        spool.announce(settings, ticket, len(found.series) + len(found.unreadable))
        get_run_logger().info("%d series, %d unreadable files", len(found.series), len(found.unreadable))
        waiting = [take_series.submit(ticket, index, found, source) for index in range(len(found.series))]
        set_unreadable_aside(settings, ticket, found, source)
        wait(waiting)
    failed = sum(not future.state.is_completed() for future in waiting)
    tell_facts(settings, request)
    if failed:
        raise IngestFailed(
            f"{failed} of {len(waiting)} series failed: run the same ingest again, or see the task logs"
        )


@task(name="take-series", task_run_name="series-{index}", retries=1, retry_delay_seconds=2)
def take_series(ticket: str, index: int, found: Found, source: Opened) -> None:
    """Take in one series and keep what became of it in the operator's folder."""
    settings = load_settings()
    site = spool.request_of(settings, ticket).site
    try:
        with connect(settings) as conn:
            outcome = take_in(intake_for(settings, conn, site, source.named), found.series[index])
    except Exception as error:
        raise IngestFailed(f"series {index}: {type(error).__module__}.{type(error).__name__}") from None
    spool.report(settings, ticket, index, outcome)


def set_unreadable_aside(settings: Settings, ticket: str, found: Found, source: Opened) -> None:
    """Quarantine the files that look like DICOM and cannot be read."""
    site = spool.request_of(settings, ticket).site
    with connect(settings) as conn:
        intake = intake_for(settings, conn, site, source.named)
        for index, refusal in enumerate(found.unreadable, len(found.series)):
            entry = set_aside(intake, key_of_files(intake, refusal.files), refusal)
            outcome = Outcome(quarantined=(entry,)) if entry else Outcome(unchanged=1)
            spool.report(settings, ticket, index, outcome)


def tell_facts(settings: Settings, request: spool.Request) -> None:
    """Write what the manifest says under the patients' pseudonyms; a date moves with the patient's others."""
    if request.manifest is None:
        return
    with connect(settings) as conn, conn.transaction():
        ring = keys.lent(settings, conn)
        for patient_id, facts in read_manifest(request.manifest).items():
            key = keys.of_patient(conn, ring.keys, request.site, patient_id)
            moved = _shifted(facts, key, request.site, patient_id)
            store.tell(conn, pseudonym(key, request.site, patient_id), moved, ACTOR)


def _shifted(facts: PatientFacts, key: bytes, site: str, patient_id: str) -> PatientFacts:
    if facts.nat_date is None:
        return facts
    return replace(facts, nat_date=facts.nat_date + date_shift(key, site, patient_id))


def intake_for(settings: Settings, conn: Connection, site: str, named: Callable[[Path], str] = str) -> Intake:
    """Gather what taking in needs; `named` tells what a file is called where it came from."""
    window = load_scheme(settings.annotation_configs, settings.schemes[0]).window
    objects = ObjectStore.from_settings(settings)
    ring = keys.lent(settings, conn)
    return Intake(
        conn, objects, ring.current, site, window, settings.schemes, settings.home, named, ring.retired
    )
