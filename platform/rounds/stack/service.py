"""The service itself under uvicorn."""

import os
import sys
from pathlib import Path

from rounds.settings import Settings
from rounds.stack.health import answer
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import Process, spawn


def start(settings: Settings, port: int, log: Path) -> Process:
    """Start the service; it reads the addresses of the other parts from the state folder."""
    command = [
        sys.executable, "-m", "uvicorn", "rounds.app:create_app", "--factory",
        "--host", LOOPBACK, "--port", str(port), "--no-access-log",
    ]  # fmt: skip
    env = {**os.environ, "ROUNDS_HOME": str(settings.home.absolute())}
    return spawn(command, log=log, env=env, cwd=settings.home)


def probe(url: str) -> str:
    """Return the version of the service at `url`."""
    return str(answer(f"{url}/healthz").json().get("version", "?"))
