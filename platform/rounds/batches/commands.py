"""`rounds batch`: open, show and decide batches."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import click

from rounds.batches import quality, service, store
from rounds.db import Connection, connect
from rounds.orchestration import start_flow, wait_for
from rounds.people import store as people
from rounds.people.model import Person, Role
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, progress, table

OPERATOR = "operator"


@click.group()
def batch() -> None:
    """Open, show and decide batches."""


@batch.command("open")
@click.option("--scheme", default="lesion", show_default=True, help="What is labelled.")
@click.option(
    "--size", default=50, show_default=True, type=click.IntRange(min=1), help="How many cases at most."
)
@click.option(
    "--annotator", "annotators", multiple=True, metavar="EMAIL", help="Group A; everyone when not given."
)
@click.option("--checker", "checkers", multiple=True, metavar="EMAIL", help="The two of Group B.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Share that a senior audits.")
@click.option(
    "--every-series", is_flag=True, help="Also draw cases that are not the chosen one of their study."
)
@click.option("--wait/--no-wait", default=True, help="Wait until the tasks stand in Label Studio.")
@json_option
def open_(
    scheme: str,
    size: int,
    annotators: Sequence[str],
    checkers: Sequence[str],
    share: float | None,
    every_series: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Deal waiting cases out to Group A and put their tasks into Label Studio."""
    settings = load_settings()
    with connect(settings) as conn:
        group_a = _group(conn, annotators, Role.ANNOTATOR)
        group_b = _group(conn, checkers, Role.CHECKER)
        with conn.transaction():
            made = service.open_batch(
                conn,
                scheme,
                size,
                group_a,
                group_b,
                share or settings.audit_share,
                OPERATOR,
                every_series,
            )
        run = start_flow(settings, "batch", {"batch_id": made.id}, key=f"batch-{made.id}-open")
        if wait:
            with progress() as bar:
                bar.add_task(f"placing the tasks of batch {made.id}", total=None)
                wait_for(settings, run)
        summary = quality.summary(conn, made.id)
    emit(summary, as_json, _text(summary))


@batch.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all batches, newest first."""
    with connect(load_settings()) as conn:
        rows = [quality.summary(conn, made.id) for made in store.everything(conn)]
    keys = ("batch", "scheme", "state", "labels", "first_pass_rate", "kappa")
    emit(rows, as_json, table("Batches", [{key: row[key] for key in keys} for row in rows]))


@batch.command()
@click.argument("batch_id", type=int)
@json_option
def show(batch_id: int, as_json: bool) -> None:
    """Show where a batch stands and what its checks and audit say."""
    with connect(load_settings()) as conn:
        summary = quality.summary(conn, batch_id)
    emit(summary, as_json, _text(summary))


@batch.command()
@click.argument("batch_id", type=int)
@click.argument("verdict", type=click.Choice(["accept", "reject"]))
@click.option("--as", "reviewer", required=True, metavar="EMAIL", help="The QA reviewer who decides.")
@click.option("--note", default="", help="Why; needed to reject.")
@json_option
def decide(batch_id: int, verdict: str, reviewer: str, note: str, as_json: bool) -> None:
    """Accept or reject a batch whose drawn labels are all audited."""
    settings = load_settings()
    with connect(settings) as conn:
        with conn.transaction():
            person = people.by_email(conn, reviewer)
            service.decide(conn, batch_id, person, cast(Literal["accept", "reject"], verdict), note)
        summary = quality.summary(conn, batch_id)
    emit(summary, as_json, _text(summary))


def _group(conn: Connection, emails: Sequence[str], role: Role) -> list[Person]:
    if not emails:
        return people.everyone(conn, role)
    chosen = [people.by_email(conn, email) for email in emails]
    for person in chosen:
        person.require(role)
    return chosen


def _text(summary: dict[str, Any]) -> str:
    audit = summary["audit"]
    rate, kappa, bound = summary["first_pass_rate"], summary["kappa"], audit["upper_bound_95"]
    lines = [
        f"batch {summary['batch']} ({summary['scheme']}): {summary['state']}",
        "labels: " + ", ".join(f"{count} {stage}" for stage, count in summary["labels"].items()),
        f"first-pass rate: {'-' if rate is None else f'{rate:.0%}'}",
        f"Cohen's kappa between the checkers: {'-' if kappa is None else f'{kappa:.2f}'}",
        f"audit: {audit['audited']} of {audit['drawn']} drawn labels audited, {audit['failed']} failed",
    ]
    if audit["lost"]:
        lines.append(
            f"{audit['lost']} drawn labels were withdrawn unaudited: the bound takes them for defective"
        )
    if bound is not None:
        lines.append(f"with 95 % confidence at most {bound} of the {audit['of']} labels are defective")
    return "\n".join(lines)
