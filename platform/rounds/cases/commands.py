"""`rounds ingest`, `rounds cases`, `rounds cases choose` and `rounds cases export`."""

from pathlib import Path
from typing import Any

import click

from rounds.cases import choosing, holding, spool, store
from rounds.cases.model import Format, read_manifest
from rounds.cases.quarantine import row_of
from rounds.db import connect
from rounds.orchestration import FlowRun, start_flow, wait_for
from rounds.settings import Settings, load_settings
from rounds.terminal import emit, json_option, progress, table

OPERATOR = "operator"


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--site", required=True, help="The hospital or institute the scans come from.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of what is known of the patients: patient_id,diagnosis,clinical_type,age,sex,nat_date.",
)
@json_option
def ingest(path: Path, site: str, manifest: Path | None, as_json: bool) -> None:
    """Take the CT series under PATH in: gate, de-identify, store, make cases of them."""
    settings = load_settings()
    result = run_ingest(settings, path, site, manifest)
    rows = [
        *(
            {"outcome": f"case {a['case']}", "what": f"{a['source_slices']} slices, {a['manufacturer']}"}
            for a in result["accepted"]
        ),
        *(
            {"outcome": q["reason"], "what": f"{len(q['files'])} files: {q['detail']}"}
            for q in result["quarantined"]
        ),
    ]
    counts = {"accepted": len(result["accepted"]), "quarantined": len(result["quarantined"])}
    title = (
        f"{counts['accepted']} accepted, {counts['quarantined']} quarantined, {result['unchanged']} unchanged"
    )
    emit(result, as_json, table(title, rows))


def run_ingest(settings: Settings, path: Path, site: str, manifest: Path | None) -> dict[str, Any]:
    """Start the ingest flow and wait for what comes of it; progress shows on a terminal."""
    text = manifest.read_text(encoding="utf-8-sig") if manifest else None
    if text is not None:
        read_manifest(text)
    ticket = spool.ask(settings, spool.Request(path.resolve(), site, text))
    run = start_flow(settings, "ingest", {"ticket": ticket}, key=f"ingest-{ticket}")
    with progress() as bar:
        line = bar.add_task("ingesting", total=None)

        def show(_: FlowRun) -> None:
            done, total = spool.progress(settings, ticket)
            bar.update(line, completed=done, total=total)

        wait_for(settings, run, report=show)
    result = spool.summary(settings, ticket)
    spool.clear(settings, ticket)
    return result


@click.group(invoke_without_command=True)
@click.option("--quarantined", is_flag=True, help="Show the scans that are held back instead.")
@json_option
@click.pass_context
def cases(context: click.Context, quarantined: bool, as_json: bool) -> None:
    """List the cases, or the scans that are held back."""
    if context.invoked_subcommand is not None:
        return
    with connect(load_settings()) as conn:
        if quarantined:
            rows = [row_of(entry) for entry in holding.listing(conn)]
        else:
            rows = [dict(row) for row in store.everything(conn)]
    emit(rows, as_json, table("Quarantine" if quarantined else "Cases", rows))


@cases.command()
@click.argument("case", type=int)
@click.option("--because", required=True, help="Why, in a few words: the trail keeps it.")
@json_option
def choose(case: int, because: str, as_json: bool) -> None:
    """Make CASE the one to read of its study, whatever the rule says."""
    with connect(load_settings()) as conn, conn.transaction():
        before = choosing.choose(conn, case, OPERATOR, because)
    row = {"case": case, "instead_of": before, "because": because}
    emit(row, as_json, table(f"Case {case} is the one to read of its study", [row]))


@cases.command()
@click.argument("case", type=int)
@click.option(
    "--format",
    "form",
    type=click.Choice([str(form) for form in Format]),
    required=True,
    help="What to write.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder, or a file if one mask is written.",
)
@click.option("--scheme", help="Only the mask of this scheme.")
@click.option("--with-source", is_flag=True, help="Write the de-identified slices beside it, in `source`.")
@json_option
def export(case: int, form: str, out: Path, scheme: str | None, with_source: bool, as_json: bool) -> None:
    """Write the accepted masks of CASE on the grid of the scan itself."""
    from rounds.cases import export as exporting  # brings imaging, which other commands need not wait for

    settings = load_settings()
    with connect(settings) as conn:
        written = exporting.export(
            conn, settings, case, Format(form), out, scheme=scheme, with_source=with_source
        )
    rows = [
        {
            "scheme": one.scheme,
            "revision": one.revision,
            "algorithm": one.algorithm,
            "ml": one.source_ml,
            "file": one.path,
        }
        for one in written
    ]
    emit([exporting.row(one) for one in written], as_json, table(f"Case {case}", rows))
