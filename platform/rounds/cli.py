"""The command `rounds`: one group that gathers the nouns' commands and renders every error in one place."""

import os
import sys

import click
import httpx
import psycopg

from rounds import __version__
from rounds.batches.commands import batch
from rounds.cases.commands import cases, ingest
from rounds.cases.key_commands import key
from rounds.cases.quarantine_commands import quarantine
from rounds.datasets.commands import dataset
from rounds.demo.commands import demo
from rounds.inbox.commands import inbox, receive
from rounds.inbox.pulling import pull
from rounds.people.commands import people
from rounds.releases.commands import models, train
from rounds.reports import report
from rounds.stack.commands import down, status, up
from rounds.trail.commands import trail


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def rounds() -> None:
    """Annotation rounds and staged active learning for medical CT."""


for command in (
    *(up, down, status, demo, ingest, receive, pull, inbox, cases, quarantine, key),
    *(batch, people, dataset, train, models, report, trail),
):
    rounds.add_command(command)


def main() -> None:
    """Run the command; on failure print one line on stderr and exit non-zero."""
    try:
        rounds(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped")
    except psycopg.OperationalError:
        _fail("the database does not answer: run `rounds up`, or check ROUNDS_DATABASE_URL")
    except httpx.HTTPStatusError as error:
        _fail(f"{error.request.url.host} answers {error.response.status_code}: see `rounds status`")
    except httpx.TransportError:
        _fail("a part of the stack does not answer: see `rounds status`, then run `rounds up`")
    except Exception as error:
        if os.environ.get("ROUNDS_DEBUG"):
            raise
        ours = type(error).__module__.startswith("rounds")
        hint = "" if ours else f" ({type(error).__name__}; ROUNDS_DEBUG=1 shows where)"
        _fail(f"{error}{hint}")


def _fail(message: str) -> None:
    click.echo(f"rounds: {' '.join(message.split())}", err=True)
    sys.exit(1)
