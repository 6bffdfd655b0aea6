"""`rounds dataset`: freeze, list and show dataset versions."""

import json

import click

from rounds.datasets import service, store
from rounds.db import connect
from rounds.objects import ObjectStore
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, table


@click.group()
def dataset() -> None:
    """Freeze, list and show dataset versions."""


@dataset.command()
@click.option("--scheme", default="lesion", show_default=True)
@click.option("--name", help="Name of the version; numbered when not given.")
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of patients in the test set; counts for the first version only.",
)
@click.option("--val-share", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True))
@json_option
def freeze(scheme: str, name: str | None, test_share: float | None, val_share: float, as_json: bool) -> None:
    """Freeze what is accepted now into an immutable manifest."""
    settings = load_settings()
    objects = ObjectStore.from_settings(settings)
    with connect(settings) as conn:
        with conn.transaction():
            made = service.freeze(
                conn,
                objects,
                scheme,
                "operator",
                test_share=test_share or settings.test_share,
                val_share=val_share,
                name=name,
            )
        summary = service.summary(conn, made)
    emit(summary, as_json, table("Frozen", [summary]))


@dataset.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the dataset versions, oldest first."""
    with connect(load_settings()) as conn:
        rows = [service.summary(conn, made) for made in store.everything(conn)]
    emit(rows, as_json, table("Dataset versions", rows))


@dataset.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a version's manifest: every mask and volume by hash."""
    settings = load_settings()
    with connect(settings) as conn:
        made = store.by_name(conn, name)
        summary = service.summary(conn, made)
    manifest = json.loads(ObjectStore.from_settings(settings).get(made.manifest))
    keys = ("position", "split", "label", "case", "patient", "diagnosis", "mask")
    rows = [{key: member[key] for key in keys} for member in manifest["members"]]
    emit(
        {**summary, "manifest": manifest}, as_json, table(f"{name} ({summary['manifest_sha256'][:12]})", rows)
    )
