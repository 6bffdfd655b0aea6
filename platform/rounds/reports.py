"""`rounds report`: cohort, quality, learning curve and time, read straight from the tables."""

from pathlib import Path
from typing import Any

import click

from rounds.batches import quality
from rounds.cases import cohort_report
from rounds.cases.cohort import cohort as counted
from rounds.db import Connection, connect
from rounds.releases.reports import learning_curve
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, table


@click.group()
def report() -> None:
    """Report on the cohort, the quality, the learning curve and the time spent."""


@report.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write cohort.html, CSV and PNG into this folder.",
)
@json_option
def cohort(out: Path | None, as_json: bool) -> None:
    """Count cases (patients) by hospital, scanner, split and diagnosis, thickness, age, sex and clinical type."""
    with connect(load_settings()) as conn:
        data = counted(conn)
    if out is not None:
        data["files"] = [str(path) for path in cohort_report.write(data, out)]
    if as_json:
        emit(data, as_json, "")
        return
    for laid in cohort_report.tables(data):
        rows = [dict(zip(laid.columns, row, strict=True)) for row in laid.rows]
        emit(None, False, table(laid.title, rows))
    for path in data.get("files", ()):
        emit(None, False, path)


@report.command("quality")
@json_option
def quality_(as_json: bool) -> None:
    """Show first-pass rates, agreement and audits by batch, annotator and checker."""
    with connect(load_settings()) as conn:
        data = {
            "batches": quality.by_batch(conn),
            "annotators": quality.by_annotator(conn),
            "checkers": quality.by_checker(conn),
        }
    emit(data, as_json, table("By batch", data["batches"]))
    if not as_json:
        emit(None, False, table("By annotator", data["annotators"]))
        emit(None, False, table("By checker", data["checkers"]))


@report.command("learning-curve")
@click.option("--scheme", default="lesion", show_default=True)
@json_option
def learning_curve_(scheme: str, as_json: bool) -> None:
    """Show what each stage of the growth brought on the frozen test set."""
    with connect(load_settings()) as conn:
        stages = learning_curve(conn, scheme)
    emit({"stages": stages}, as_json, table("Learning curve", stages))


@report.command()
@json_option
def time(as_json: bool) -> None:
    """Show the seconds per label with and without pre-label, and how much of a pre-label was kept."""
    with connect(load_settings()) as conn:
        rows = time_spent(conn)
    emit(rows, as_json, table("Seconds per label", rows))


def time_spent(conn: Connection) -> list[dict[str, Any]]:
    """Return, by batch and by whether a model had drawn first, the first submissions' time and editing effort."""
    return conn.execute(
        """
        SELECT l.batch_id AS batch, m.id IS NOT NULL AS prelabelled, count(*) AS labels,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) AS median_seconds,
               avg(r.seconds) AS mean_seconds,
               avg((r.effort->>'dice')::float8) AS dice_with_prelabel,
               sum((r.effort->>'kept')::float8) / nullif(sum((r.effort->>'kept')::float8
                   + (r.effort->>'changed')::float8 + (r.effort->>'drawn')::float8), 0) AS regions_kept
        FROM labels l JOIN LATERAL (
            SELECT * FROM revisions WHERE label_id = l.id AND person_id IS NOT NULL ORDER BY number LIMIT 1) r ON true
        LEFT JOIN revisions m ON m.id = r.parent_id AND m.model_id IS NOT NULL
        WHERE l.batch_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
        """
    ).fetchall()
