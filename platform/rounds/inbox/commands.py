"""`rounds receive` and `rounds inbox`."""

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import click

from rounds.cases.sources import scratch
from rounds.inbox.collecting import Collector, advice, age
from rounds.inbox.folders import Inbox, Waiting
from rounds.inbox.model import Standing, senders_of
from rounds.inbox.settings import load_receiving
from rounds.settings import load_settings
from rounds.terminal import emit, json_option, table

logger = logging.getLogger("rounds.inbox")


class NoSuchSeries(Exception):
    """Nothing in the inbox has this key."""


class NotWhole(Exception):
    """Slices cannot be taken in without the others of their series."""


@click.command()
@click.option(
    "--from",
    "senders",
    multiple=True,
    metavar="TITLE[@ADDRESS]=SITE",
    help="Who may send, and whose scans these are; may be repeated. Added to ROUNDS_RECEIVE_SENDERS.",
)
@click.option("--aet", help="Our AE title; ROUNDS when not given.")
@click.option("--host", help="Where to listen; 127.0.0.1 when not given, 0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(1, 65535), help="11112 when not given.")
@click.option(
    "--archive",
    metavar="TITLE@HOST:PORT|URL",
    help="Whom to ask how many slices a series has (C-FIND or QIDO-RS).",
)
@click.option(
    "--quiet", type=float, metavar="SECONDS", help="A series is whole after so long without a slice."
)
@json_option
def receive(
    senders: Sequence[str],
    aet: str | None,
    host: str | None,
    port: int | None,
    archive: str | None,
    quiet: float | None,
    as_json: bool,
) -> None:
    """Receive CT over DICOM (C-STORE) until it is stopped, and take in each series once it is complete."""
    from rounds.inbox.receiver import Receiver  # brings pynetdicom, which other commands need not wait for

    settings, receiving = load_settings(), load_receiving()
    told: dict[str, Any] = {
        "ae_title": aet, "host": host, "port": port, "archive": archive, "quiet_seconds": quiet
    }  # fmt: skip
    told = {name: value for name, value in told.items() if value is not None}
    named = {**receiving.senders, **dict(_pair(one) for one in senders)}
    receiving = load_receiving(**told, senders=named)
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    inbox = Inbox(settings.home)
    with scratch(settings.home) as drafts:
        receiver = Receiver(receiving, senders_of(receiving.senders), inbox, drafts, logger.info)
        collector = Collector(settings, receiving, logger.info)
        receiver.start()
        inbox.listens()
        logger.info("%s listens on %s, port %d", receiving.ae_title, receiving.host, receiving.port)
        collecting = threading.Thread(target=collector.run, args=(stop,), daemon=True)
        collecting.start()
        while not stop.wait(60):
            receiver.tidy()
        receiver.stop()
        collecting.join(timeout=30)
    counts = receiver.counts
    done = {
        "new": counts.new,
        "again": counts.again,
        "refused": counts.refused,
        "strangers": counts.strangers,
    }
    emit(
        done,
        as_json,
        f"stopped: {counts.new} slices received, {counts.again} again, {counts.refused} refused",
    )


def log_to_stderr() -> None:
    """Show what the inbox tells, which never has a word of what arrived."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _pair(told: str) -> tuple[str, str]:
    who, equals, site = told.rpartition("=")
    if not equals or not who.strip() or not site.strip():
        raise click.BadParameter("write TITLE=SITE, or TITLE@ADDRESS=SITE", param_hint="--from")
    return who.strip(), site.strip()


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def inbox(context: click.Context, as_json: bool) -> None:
    """List the series that arrived over the network and are no case yet."""
    if context.invoked_subcommand is not None:
        return
    found = Inbox(load_settings().home)
    quiet = found.quiet_in_force(load_receiving().quiet_seconds)
    rows = [
        {
            "series": one.key[:12],
            "site": one.site,
            "slices": one.pile.at_hand,
            "expected": one.pile.expected,
            "state": str(one.standing),
            "last_slice": age(one.last),
            "what_to_do": advice(one),
        }
        for one in found.waiting(quiet)
    ]
    for lot in found.takings():
        state, advised = ("failed", "rounds inbox retry") if lot.failed else ("taking in", "")
        rows += [
            {
                "series": key[:12], "site": lot.site, "slices": None, "expected": None, "state": state,
                "last_slice": None, "what_to_do": advised,
            }
            for key in lot.series
        ]  # fmt: skip
    emit(rows, as_json, table("Inbox", rows))


@inbox.command()
@click.argument("series")
@json_option
def take(series: str, as_json: bool) -> None:
    """Take SERIES in as it is, although slices may be missing; the gate still judges it."""
    found = Inbox(load_settings().home)
    one = _waiting(found, series)
    if one.standing is Standing.LATE:
        raise NotWhole("these slices alone would be left out: send the whole series again, or discard them")
    lots = found.claim(float("inf"), forced=(one.key,))
    told = {"series": one.key[:12], "lots": len(lots)}
    emit(told, as_json, "it is taken in as soon as a receiver or the service runs")


@inbox.command()
@click.argument("series")
@json_option
def discard(series: str, as_json: bool) -> None:
    """Remove the slices of SERIES that wait, or whose ingest failed."""
    found = Inbox(load_settings().home)
    failed = [lot for lot in found.takings() if lot.failed and _means(series, lot.series[0])]
    if len(failed) == 1:
        key = failed[0].series[0]
        found.give_up(failed[0])
    else:
        key = _waiting(found, series).key
        found.discard(key)
    emit({"discarded": key[:12]}, as_json, "discarded")


@inbox.command()
@json_option
def retry(as_json: bool) -> None:
    """Have series taken in once more whose ingest failed."""
    found = Inbox(load_settings().home)
    failed = [lot for lot in found.takings() if lot.failed]
    for lot in failed:
        found.again(lot)
    count = sum(len(lot.series) for lot in failed)
    emit({"retried": count}, as_json, f"{count} series are tried again")


def _waiting(found: Inbox, series: str) -> Waiting:
    matching = [one for one in found.waiting(0) if _means(series, one.key)]
    if len(matching) != 1:
        raise NoSuchSeries("no single series in the inbox has this key: see `rounds inbox`")
    return matching[0]


def _means(series: str, key: str) -> bool:
    return len(series) >= 4 and key.startswith(series)
