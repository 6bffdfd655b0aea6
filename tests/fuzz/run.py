"""Fuzz what ingest does with one file, guided by coverage: `make fuzz ARGS='--seconds 300'`.

What was found lies in OUT/findings, each with the file that does it; what is worth mutating is kept in OUT/corpus for
the next run. One JSON document is printed; the exit status is 1 if anything was found.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.seeds import make_seeds, real_seeds, write_words

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(__file__).with_name("target.py")
WITHOUT_END = 2**31 - 1
MOST_DEATHS = 20
EXECUTIONS_OF_PROCESS = 30_000
"""Decoders leak where they fail, some 50 KiB each time: no sum of that is to be taken for one file's memory."""

_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass
class Report:
    """What came of a run: inputs judged, code edges reached, inputs that reached new ones, times and peak memory."""

    seconds: float = 0.0
    executions: int = 0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    slowest_s: float = 0.0
    peak_mb: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, tally: Path, log: str) -> None:
        """Take in what one process did."""
        if tally.exists():
            told = json.loads(tally.read_text())
            self.executions += told["files"]
            self.slowest_s = max(self.slowest_s, told["slowest_s"])
            self.peak_mb = max(self.peak_mb, told["peak_mb"])
            self.outcomes.update(told["outcomes"])
        if reached := _COVERAGE.findall(log):
            edges, features, corpus = map(int, reached[-1])
            self.edges, self.features = max(self.edges, edges), max(self.features, features)
            self.corpus = corpus


def fuzz(
    out: Path, seconds: float = 1e9, executions: int = WITHOUT_END, seed: int = 1, real: bool = True
) -> Report:
    """Mutate and judge files until the time is up or so many were judged; one process follows another that dies."""
    for stale in ("findings", "seeds"):
        shutil.rmtree(out / stale, ignore_errors=True)
    for folder in (out / "findings", out / "corpus"):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = make_seeds(out / "seeds") + (real_seeds() if real else [])
    (out / "seeds.txt").write_text(",".join(map(str, seeds)))
    flags = [f"-seed_inputs=@{out / 'seeds.txt'}", f"-dict={write_words(out / 'words')}", str(out / "corpus")]
    report, start, deaths, turn = Report(), time.monotonic(), 0, 0
    while (left := seconds - (time.monotonic() - start)) > 0 and report.executions < executions:
        share = min(executions - report.executions, EXECUTIONS_OF_PROCESS)
        log = out / f"log-{turn}.txt"
        code, told = _run([str(out), str(seed + turn), str(left), str(share), *flags], log)
        report.add(out / "tally.json", told)
        turn, deaths = turn + 1, deaths + (code != 0)
        if deaths and not any((out / "findings").iterdir()):
            raise RuntimeError(f"the fuzzer ended with {code}: see {log}")
        if deaths == MOST_DEATHS:
            break
    report.seconds = time.monotonic() - start
    report.findings = sorted(path.name for path in (out / "findings").iterdir() if path.suffix != ".txt")
    return report


def _run(words: list[str], log: Path) -> tuple[int, str]:
    """Run the target; return its exit status and what it said."""
    (log.parent / "tally.json").unlink(missing_ok=True)
    path = os.pathsep.join([str(ROOT), *(one for one in sys.path if one)])
    with log.open("wb") as file:
        done = subprocess.run(
            ["nice", sys.executable, str(TARGET), *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )
    for left in log.parent.glob("tmp*"):
        shutil.rmtree(left, ignore_errors=True)
    return done.returncode, log.read_text(errors="replace")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--made", action="store_true", help="begin with the files made by code alone")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz")
    given = parser.parse_args()
    report = fuzz(given.out.absolute(), given.seconds, seed=given.seed, real=not given.made)
    print(json.dumps(vars(report), indent=2))
    for name in report.findings:
        print(f"found: {given.out / 'findings' / name}", file=sys.stderr)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
