"""`rounds pull`: CT series of an archive, found, fetched whole, taken in by the ingest flow, and removed again."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from rounds.cases import keys, store
from rounds.cases.commands import run_ingest
from rounds.cases.secret import key_ring
from rounds.cases.sources import scratch
from rounds.db import connect
from rounds.inbox.archive import Archive, ArchiveFailed, RemoteSeries, SeriesUnfit
from rounds.inbox.settings import Receiving, load_receiving
from rounds.settings import Settings, load_settings
from rounds.terminal import emit, json_option, table

LOT_SERIES, LOT_BYTES = 20, 4 * 2**30
READABLE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


class NothingAsked(Exception):
    """The command does not say which studies to pull."""


class PulledInPart(Exception):
    """Some series could not be fetched; the others were taken in."""


@dataclass
class Pulled:
    """What came of a pull; series are counted, never named. `absent`: identifiers without any CT series."""

    found: int = 0
    absent: int = 0
    known: int = 0
    failed: list[str] = field(default_factory=list)
    accepted: list[Any] = field(default_factory=list)
    quarantined: list[Any] = field(default_factory=list)
    unchanged: int = 0


@click.command()
@click.option("--from", "base", required=True, metavar="URL", help="The archive's DICOMweb address.")
@click.option("--site", required=True, help="The hospital or institute the scans come from.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Studies of this day and later.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Studies of this day and earlier.")
@click.option("--accessions", type=READABLE, help="A file of accession numbers, one a line; - asks for them.")
@click.option("--studies", type=READABLE, help="A file of study instance UIDs, one a line; - asks for them.")
@click.option("--patients", type=READABLE, help="A file of patient ids, one a line; - asks for them.")
@click.option(
    "--credentials", type=READABLE, help="A file with USER:PASSWORD or Bearer TOKEN; - asks for it."
)
@click.option("--plain-http", is_flag=True, help="Let scans travel unencrypted from another machine.")
@click.option(
    "--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="As of ingest."
)
@json_option
def pull(
    base: str,
    site: str,
    since: datetime | None,
    until: datetime | None,
    accessions: Path | None,
    studies: Path | None,
    patients: Path | None,
    credentials: Path | None,
    plain_http: bool,
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Fetch CT series from an archive over DICOMweb and take them in; what is a case already is left out."""
    asked = {"AccessionNumber": accessions, "StudyInstanceUID": studies, "PatientID": patients}
    named = {name: lines_of(path, name) for name, path in asked.items() if path is not None}
    queries = list(queries_of(_days(since, until), named))
    secret = next(iter(lines_of(credentials, "credentials", hidden=True)), None) if credentials else None
    archive = Archive(base, secret, plain=plain_http)
    try:
        done = run_pull(load_settings(), load_receiving(), archive, queries, site, manifest)
    finally:
        archive.close()
    rows = [
        *({"outcome": f"case {a['case']}", "what": f"{a['source_slices']} slices"} for a in done.accepted),
        *({"outcome": q["reason"], "what": q["detail"]} for q in done.quarantined),
        *({"outcome": "not fetched", "what": why} for why in done.failed),
    ]
    title = (
        f"{done.found} CT series found: {done.known} known, {len(done.accepted)} accepted,"
        f" {len(done.quarantined)} quarantined, {done.unchanged} unchanged, {len(done.failed)} not fetched"
    )
    if done.absent:
        title += f"; {done.absent} of {len(queries)} identifiers have none"
    emit(vars(done), as_json, table(title, rows) if rows else title)
    if done.failed:
        raise PulledInPart(
            f"{len(done.failed)} of {done.found} series were not fetched whole: pull them again"
        )


def run_pull(
    settings: Settings,
    receiving: Receiving,
    archive: Archive,
    queries: Sequence[Mapping[str, str]],
    site: str,
    manifest: Path | None = None,
) -> Pulled:
    """Fetch what the queries find in lots, so that only so much lies on the disk at once, and take each in."""
    done = Pulled()
    with scratch(settings.home) as folder:
        lot = folder / "lot"
        for fetched in _lots(settings, receiving, archive, queries, lot, done):
            if fetched:
                result = run_ingest(settings, lot, site, manifest)
                done.accepted += result["accepted"]
                done.quarantined += result["quarantined"]
                done.unchanged += result["unchanged"]
            shutil.rmtree(lot, ignore_errors=True)
    return done


def _lots(
    settings: Settings,
    receiving: Receiving,
    archive: Archive,
    queries: Sequence[Mapping[str, str]],
    lot: Path,
    done: Pulled,
) -> Iterator[int]:
    """Yield how many series lie in `lot`, each time enough do and at the end."""
    fetched = size = 0
    for one in _new(settings, archive, queries, done):
        if shutil.disk_usage(settings.home).free < receiving.spare_bytes + LOT_BYTES // 4:
            raise ArchiveFailed("the disk has too little room left: nothing more was fetched")
        room = lot / f"{fetched:04d}"
        try:
            _fetch(archive, one, room, receiving.max_file_bytes)
        except (SeriesUnfit, ArchiveFailed) as error:
            shutil.rmtree(room, ignore_errors=True)
            done.failed.append(str(error))
            continue
        fetched += 1
        size += sum(path.stat().st_size for path in room.iterdir())
        if fetched >= LOT_SERIES or size >= LOT_BYTES:
            yield fetched
            fetched = size = 0
    yield fetched


def _fetch(archive: Archive, one: RemoteSeries, room: Path, most: int) -> None:
    """Fetch a series, once more where it did not arrive whole."""
    for last in (False, True):
        room.mkdir(parents=True, mode=0o700)
        try:
            archive.fetch(one, room, most)
        except (SeriesUnfit, ArchiveFailed):
            shutil.rmtree(room)
            if last:
                raise
        else:
            return


def _new(
    settings: Settings, archive: Archive, queries: Sequence[Mapping[str, str]], done: Pulled
) -> Iterator[RemoteSeries]:
    """Yield the series that are no case yet, or have more instances now; each once."""
    ring = key_ring(settings).keys
    seen: set[str] = set()
    with connect(settings) as conn:
        for query in queries:
            absent = query.keys() != {"StudyDate"}
            for one in archive.find(query):
                absent = False
                if one.series in seen:
                    continue
                seen.add(one.series)
                done.found += 1
                standing = store.known(conn, keys.of_series(conn, ring, one.series))
                if standing is not None and standing.slices >= one.count:
                    done.known += 1
                else:
                    yield one
            done.absent += absent


def queries_of(days: str, named: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Yield a QIDO query for each identifier, or one for the days alone; raise NothingAsked."""
    dated = {"StudyDate": days} if days else {}
    if not named and not dated:
        raise NothingAsked("say which studies: --since, --until, --accessions, --studies or --patients")
    if not named:
        yield dated
    for name, values in named.items():
        for value in values:
            if any(sign in value for sign in "*?\\,"):
                raise NothingAsked(
                    "an identifier has a * ? , or \\ in it, which an archive takes for a pattern"
                )
            yield {name: value, **dated}


def lines_of(path: Path, name: str, *, hidden: bool = False) -> list[str]:
    """Read one value a line from a file, or ask for them on the terminal, where no shell remembers them."""
    text: Iterable[str]
    if str(path) != "-":
        text = path.read_text(encoding="utf-8-sig").splitlines()
    elif hidden:
        text = [click.prompt(name, hide_input=True, err=True)]
    else:
        if sys.stdin.isatty():
            click.echo(f"{name}, one a line, then Ctrl-D:", err=True)
        text = sys.stdin.read().splitlines()
    return list(dict.fromkeys(line.strip() for line in text if line.strip()))


def _days(since: datetime | None, until: datetime | None) -> str:
    if since is None and until is None:
        return ""
    return "-".join(f"{day:%Y%m%d}" if day else "" for day in (since, until))
