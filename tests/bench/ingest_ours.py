"""Take scans in as the ingest flow does, without Prefect: ingest_ours.py JOB.json; prints what it did as JSON."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from importlib import import_module
from pathlib import Path
from secrets import token_bytes
from typing import Any

from rounds.cases import intake
from rounds.cases.sources import opened
from rounds.db import connect
from rounds.imaging.series import Series
from rounds.objects import ObjectStore
from rounds.settings import Settings, load_settings

WINDOW = (-1024.0, 350.0)
STEPS = {
    "find the series, read the headers": ("rounds.cases.sources", "find_series"),
    "gate": ("rounds.cases.intake", "examine"),
    "read the files": ("rounds.imaging.volume", "read_dataset"),
    "decode the pixels, HU": ("rounds.imaging.volume", "_decoded"),
    "resample": ("rounds.cases.intake", "to_reading_grid"),
    "look for text": ("rounds.cases.intake", "find_text"),
    "look for lungs": ("rounds.cases.intake", "find_lungs"),
    "de-identify": ("rounds.cases.cleaning", "deidentify_dataset"),
    "second check": ("rounds.imaging.residue", "Residue.find"),
    "NIfTI": ("rounds.cases.intake", "encode_volume"),
    "PNG": ("rounds.cases.intake", "slice_png"),
    "zip": ("rounds.cases.archive", "Packing.add"),
    "hash and send to S3": ("rounds.objects.store", "ObjectStore.put"),
    "hash and send the zip": ("rounds.objects.store", "ObjectStore.put_file"),
    "database": ("rounds.cases.store", "accept"),
}


class Clock:
    """Processor seconds of this thread by step; a step inside another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def watch(self, name: str, module: str, attribute: str) -> None:
        """Measure every call of a function or method from now on."""
        owner: Any = import_module(module)
        *path, last = attribute.split(".")
        for step in path:
            owner = getattr(owner, step)
        setattr(owner, last, self._measured(name, getattr(owner, last)))

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                within = self._inner.pop()
                self.seconds[name] = self.seconds.get(name, 0.0) + spent - within
                self._inner[-1] += spent

        return measured


def take(settings: Settings, key: bytes, series: Series) -> int:
    """Take one series in over a connection of its own; return how many slices of it were accepted."""
    with connect(settings) as conn:
        objects = ObjectStore.from_settings(settings)
        given = intake.Intake(conn, objects, key, "bench", WINDOW, settings.schemes, settings.home)
        outcome = intake.take_in(given, series)
    return sum(case["source_slices"] for case in outcome.accepted)


def memory() -> dict[str, int]:
    """Return the resident bytes now and at most (since the mark was last reset)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    settings = load_settings()
    clock = Clock()
    if job.get("steps"):
        for name, (module, attribute) in STEPS.items():
            clock.watch(name, module, attribute)
    warming, key = token_bytes(32), token_bytes(32)  # keys of their own make every run's cases new
    for folder in job.get("warm", []):
        with opened(settings.home, Path(folder)) as source:
            take(settings, warming, source.find().series[0])
    clock.seconds.clear()
    Path("/proc/self/clear_refs").write_text("5")  # the most memory so far is forgotten
    before, start = memory(), time.process_time()
    found: list[Series] = []
    for folder in job["folders"]:
        with opened(settings.home, Path(folder)) as source:
            found += source.find().series
    with ThreadPoolExecutor(job["workers"]) as pool:
        run = pool.map if job["workers"] > 1 else map
        taken = sum(run(lambda one: take(settings, key, one), found))
    after = memory()
    spent = time.process_time() - start
    result = {
        "slices": taken,
        "cpu": spent,
        "steps": clock.seconds,
        "resting": before["VmRSS"],
        "peak": after["VmHWM"],
        "threads": threading.active_count(),
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
