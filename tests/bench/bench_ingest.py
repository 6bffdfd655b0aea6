"""What taking scans in costs: ours against a pipeline of the usual parts, memory, how cost grows, and the floor.

--scans, --slices: how many a batch and a phantom have. --long: the growth over scans of 512 x 512 (6 GB).
--python: an environment with rivals.txt; by default one is made in build/rivals.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.ingest_scans import Group, groups, long_scan, small_scans  # noqa: E402
from tests.bench.ingest_servers import Servers, running  # noqa: E402

from rounds.stack.prefect import ONE_THREAD  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "build" / "bench" / "ingest.json"
HERE = Path(__file__).parent
RIVALS = ROOT / "build" / "rivals"
COUNTS = (10, 30, 100, 300)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    name: str
    ours: float
    theirs: float | None
    ratio: float | None
    unit: str


@dataclass(frozen=True)
class Run:
    """One run of a contender: processor seconds of its process tree and of the servers, bytes it stored."""

    slices: int
    cpu: float
    store_cpu: float
    database_cpu: float
    stored: int
    told: dict[str, Any]

    @property
    def rate(self) -> float:
        """Slices per processor second, the start of the interpreter included, the servers not."""
        return self.slices / self.cpu

    @property
    def rate_with_servers(self) -> float:
        """Slices per processor second of the contender and of the servers that it used."""
        return self.slices / (self.cpu + self.store_cpu + self.database_cpu)


@dataclass
class Bench:
    """What every run needs."""

    servers: Servers
    scratch: Path
    rival: Path
    count: int = 0

    def run(self, whose: str, folders: tuple[Path, ...], workers: int = 1, **more: object) -> Run:
        """Run a contender over the folders in a process of its own, into a bucket of its own."""
        self.count += 1
        bucket = f"run{self.count}"
        environment = {**self.servers.bucket(bucket), **ONE_THREAD}  # as the worker has it
        job = self.scratch / "job.json"
        job.write_text(json.dumps({"folders": [str(one) for one in folders], "workers": workers, **more}))
        python = str(self.rival) if whose == "theirs" else sys.executable
        before, served = resource.getrusage(resource.RUSAGE_CHILDREN), self.servers.cpu()
        done = subprocess.run(
            [python, str(HERE / f"ingest_{whose}.py"), str(job)],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        after, serving = resource.getrusage(resource.RUSAGE_CHILDREN), self.servers.cpu()
        told = json.loads(done.stdout)
        return Run(
            told["slices"],
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            serving[0] - served[0],
            serving[1] - served[1],
            self.servers.empty(bucket),
            told,
        )


def speed(bench: Bench, group: Group, workers: int, repeats: int) -> list[Row]:
    """Compare slices per processor second, the contenders in turn; the median of the runs' ratios counts."""
    mine, theirs = [], []
    for _ in range(repeats):
        mine.append(bench.run("ours", group.folders, workers))
        theirs.append(bench.run("theirs", group.folders, workers))
    for run in (*mine, *theirs):
        if run.slices != group.slices:
            raise SystemExit(f"{group.name}: {run.slices} of {group.slices} slices were taken in")
    ratios = [one.rate / other.rate for one, other in zip(mine, theirs, strict=True)]
    how = f"{group.name}, {workers} worker{'s' * (workers > 1)}"
    print(f"{how}: ratios {', '.join(f'{one:.2f}' for one in sorted(ratios))}", flush=True)
    unit = "slices per CPU second"
    ours_rate, their_rate = (statistics.median(one.rate for one in runs) for runs in (mine, theirs))
    ours_all, their_all = (
        statistics.median(one.rate_with_servers for one in runs) for runs in (mine, theirs)
    )
    ours_stored, their_stored = mine[0].stored / MIB, theirs[0].stored / MIB
    return [
        Row(how, ours_rate, their_rate, statistics.median(ratios), unit),
        *_without_start(how, mine, theirs, workers),
        Row(f"{how}, servers too", ours_all, their_all, ours_all / their_all, unit),
        Row(f"{how}, stored", ours_stored, their_stored, ours_stored / their_stored, "MiB"),
    ]


def _without_start(how: str, mine: list[Run], theirs: list[Run], workers: int) -> list[Row]:
    """Compare what is left when interpreters and packages are loaded; only a single process tells it of itself."""
    if workers > 1:
        return []
    rates = [statistics.median(one.slices / one.told["cpu"] for one in runs) for runs in (mine, theirs)]
    return [
        Row(f"{how}, without its start", rates[0], rates[1], rates[0] / rates[1], "slices per CPU second")
    ]


def memory(bench: Bench, folder: Path, warm: Path, voxels: int) -> list[Row]:
    """Measure the most memory that one worker takes for one long scan, in volumes of int16."""
    volume = 2 * voxels
    peaks: dict[str, tuple[float, float]] = {}
    for whose in ("ours", "theirs"):
        told = bench.run(whose, (folder,), warm=[str(warm)]).told
        peaks[whose] = (told["peak"] - told["resting"]) / volume, told["peak"] / volume
    named = ("peak memory of a worker above its rest", "peak memory of a worker, the interpreter counted too")
    return [
        Row(f"{name}, {volume // MIB} MiB a volume", mine, other, mine / other, "volumes")
        for name, mine, other in zip(named, peaks["ours"], peaks["theirs"], strict=True)
    ]


def growth(bench: Bench, folders: list[Path], counts: tuple[int, ...]) -> list[Row]:
    """Fit how the cost grows with the number of scans: a line, and the exponent of a power."""
    seconds = [bench.run("ours", tuple(folders[:count])).told["cpu"] for count in counts]
    x, y = np.array(counts, dtype=float), np.array(seconds)
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    off = float(np.abs(slope * x + intercept - y).max() / y.max())
    exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    each = ", ".join(
        f"{count}: {one / count * 1000:.0f} ms" for count, one in zip(counts, seconds, strict=True)
    )
    print(f"CPU a scan: {each}", flush=True)
    return [
        Row(
            f"CPU a small scan, slope of a line over {counts[0]} to {counts[-1]} scans",
            float(slope),
            None,
            None,
            "s",
        ),
        Row("CPU beside that, intercept", float(intercept), None, None, "s"),
        Row("largest distance from the line, of the most", off, None, None, "1"),
        Row("exponent of the number of scans", exponent, None, None, "1"),
    ]


def breakdown(bench: Bench, group: Group) -> list[Row]:
    """Tell where our time goes, and how far it is from decoding once and writing once."""
    run = bench.run("ours", group.folders, steps=True)
    floor = bench.run("floor", group.folders, stored=run.stored).told["cpu"]
    steps = {**run.told["steps"]}
    rest = run.told["cpu"] - sum(steps.values())
    each, unit = 1000 / group.slices, "CPU ms a slice"
    rows = [Row(f"{group.name}: {name}", spent * each, None, None, unit) for name, spent in steps.items()]
    rows.append(Row(f"{group.name}: all the rest", rest * each, None, None, unit))
    total = run.told["cpu"]
    rows.append(
        Row(
            f"{group.name}: all against the floor",
            total * each,
            floor * each,
            floor / total,
            "CPU ms a slice",
        )
    )
    return rows


def rival_python(given: Path | None) -> Path:
    """Return the interpreter of the rivals' environment; make that where none is given."""
    known = given or os.environ.get("ROUNDS_BENCH_PYTHON")
    if known:
        return Path(known)
    made = RIVALS / "bin" / "python"
    ready = RIVALS / ".ready"
    listed = HERE / "rivals.txt"
    if not ready.is_file() or ready.stat().st_mtime < listed.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", str(RIVALS)], check=True)
        subprocess.run([str(made), "-m", "pip", "install", "--quiet", "-r", str(listed)], check=True)
        ready.touch()
    return made


def report(rows: list[Row], more: list[Row]) -> None:
    """Print what was measured just now, and write all that was measured so far."""
    for row in more:
        theirs = "" if row.theirs is None else f"{row.theirs:12.2f}{row.ratio:9.2f}"
        print(f"{row.name:<78}{row.ours:10.3f}{theirs}  {row.unit}", flush=True)
    rows += more
    command = " ".join(["make bench-ingest", *([f"ARGS='{' '.join(sys.argv[1:])}'"] if sys.argv[1:] else [])])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"rows": [asdict(row) for row in rows], "command": command}, indent=1) + "\n")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scans", type=int, default=10)
    options.add_argument("--slices", type=int, default=100)
    options.add_argument("--long", action="store_true")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--python", type=Path)
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped
    rival = rival_python(given.python)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "home")) as servers:
        scratch = Path(folder)
        bench = Bench(servers, scratch, rival)
        measured = groups(scratch / "scans", DATA, given.scans, given.slices)
        for group in measured:
            report(rows, speed(bench, group, 1, given.repeats))
        for group in measured:
            report(rows, breakdown(bench, group))
        report(rows, memory(bench, long_scan(scratch), measured[0].folders[0], 300 * 512 * 512))
        small = small_scans(scratch, COUNTS[-1], 512 if given.long else 128)
        report(rows, growth(bench, small, COUNTS))
        for group in measured:
            report(rows, speed(bench, group, 2, given.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
