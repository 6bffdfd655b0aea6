"""Who plays in the demo: Group A, Group B, a senior, a QA reviewer and an engineer, each with a log-in."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "rounds-demo"  # noqa: S105 (phantoms only, on this machine only; printed at the end)

Say = Callable[[str], None]


class CommandFailed(Exception):
    """A `rounds` command of the demo failed; the message is its own."""


@dataclass(frozen=True)
class Actor:
    """Somebody in the demo and the role he plays."""

    email: str
    name: str
    role: str


CAST = (
    *(Actor(f"annotator{n}@demo.example", f"Annotator {n}", "annotator") for n in range(1, 5)),
    *(Actor(f"checker{n}@demo.example", f"Checker {n}", "checker") for n in range(1, 3)),
    Actor("senior@demo.example", "Senior radiologist", "senior"),
    Actor("qa@demo.example", "QA reviewer", "qa"),
    Actor("engineer@demo.example", "ML engineer", "engineer"),
)


def of_role(role: str) -> list[Actor]:
    """Return who plays a role."""
    return [actor for actor in CAST if actor.role == role]


def operate(home: Path, say: Say, *words: str) -> Any:
    """Type a `rounds` command as the operator would and return its JSON; raise CommandFailed."""
    say("$ rounds " + " ".join(words))
    command = [sys.executable, "-m", "rounds", *words, "--json"]
    env = {**os.environ, "ROUNDS_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise CommandFailed(done.stderr.strip().removeprefix("rounds: ") or f"rounds {words[0]} failed")
    return json.loads(done.stdout)


def hire(home: Path, say: Say) -> None:
    """Add everybody through the command line; annotators get their Label Studio accounts that way."""

    def add(actor: Actor) -> None:
        words = ("people", "add", actor.email, "--name", actor.name, "--role", actor.role)
        operate(home, say, *words, "--password", PASSWORD)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(add, CAST))
