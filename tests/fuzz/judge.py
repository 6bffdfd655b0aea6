"""What becomes of a file that may be made to harm: `python tests/fuzz/judge.py PATH...` prints it as one JSON document.

A file ends as a volume, or in quarantine with a reason. Anything else is an exception, and ends the process.
"""

import faulthandler
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rounds.cases.cleaning import Cleaning
from rounds.cases.sources import opened
from rounds.cases.waivers import WAIVERS, by_code, delivered, facts, releasable, waive
from rounds.imaging.burned_in import hints_at_text
from rounds.imaging.chest import find_lungs, range_fault
from rounds.imaging.choice import kernel_of
from rounds.imaging.dicom import NotDicom, Unreadable
from rounds.imaging.gate import LIMITS, Stack, examine
from rounds.imaging.refusal import Reason
from rounds.imaging.resample import to_reading_grid
from rounds.imaging.series import Series
from rounds.imaging.volume import VolumeRefused

MEMORY_BYTES = 2 * 2**30
PAIR = replace(LIMITS, min_slices=2)
VOLUME = "volume"

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass
class Tally:
    """What has become of the files so far."""

    files: int = 0
    slowest: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def judge(self, path: Path, home: Path) -> float:
        """Take a file, or a zip of files, as far as ingest would; return the seconds that it took."""
        start = time.monotonic()
        with opened(home, path) as source:
            found = source.find()
            assert all(source.named(file) for one in found.unreadable for file in one.files)
            self.outcomes.update(str(one.code) for one in found.unreadable)
            self.outcomes["not_dicom"] += found.not_dicom
            self.outcomes["directory"] += found.directories
            for series in found.series:
                self._series(_with_neighbour(series))
        took = time.monotonic() - start
        self.files += 1
        self.slowest = max(self.slowest, took)
        return took

    def _series(self, series: Series) -> None:
        """Pass the gate; what a person may release goes on as if one had, so that no header hides what comes after."""
        assert (series.uid + series.patient).encode() is not None  # what keys are made of
        verdict = examine(series, PAIR)
        assert verdict.stacks or verdict.refusals
        assert delivered(series, verdict) <= len(series.slices)
        assert all(one.count and one.sentence for one in by_code(verdict.refusals))
        _storable(*facts(series.slices).values())
        if not verdict.stacks:
            self.outcomes.update({str(one.code) for one in verdict.refusals})
            if all(releasable(one.code) for one in verdict.refusals):
                verdict = examine(*waive(series, tuple(WAIVERS)))
        for stack in verdict.stacks:
            self.outcomes[_ending(stack)] += 1

    def told(self) -> str:
        known = {name: count for name, count in sorted(self.outcomes.items()) if count}
        return json.dumps(
            {"files": self.files, "slowest_s": self.slowest, "peak_mb": peak_mb(), "outcomes": known}
        )


def peak_mb() -> int:
    """Return the most memory that this process has had, in MiB."""
    return int(_PEAK.findall(Path("/proc/self/status").read_text())[0]) // 1024


def _with_neighbour(series: Series) -> Series:
    """Put the same slice 2 mm higher beside one that came alone: a volume needs two."""
    one = series.slices[0]
    if len(series.slices) > 1 or len(one.position) != 3:
        return series
    x, y, z = one.position
    return replace(series, slices=(one, replace(one, instance_uid="2.25.2", position=(x, y, z + 2.0))))


def _ending(stack: Stack) -> str:
    """Decode and de-identify a stack, and check it a second time; return how that ended."""
    try:
        range_fault(stack.grid)
        with tempfile.TemporaryDirectory() as home, Cleaning(bytes(32), "site", Path(home)) as cleaning:
            find_lungs(to_reading_grid(cleaning.volume(stack)))
            for one in stack.slices:
                hints_at_text(one)
                kernel_of(one.kernel)
            _storable(*cleaning.device, cleaning.study)
            left = cleaning.refusal()
    except VolumeRefused as refused:
        return str(refused.refusal.code)
    except (NotDicom, Unreadable):
        return str(Reason.UNDECODABLE)
    return str(left.code) if left is not None else VOLUME


def _storable(*texts: str) -> None:
    """Fail for what a database takes for no text."""
    for text in texts:
        assert "\0" not in text
        text.encode()


def judge_all(paths: Iterable[Path]) -> str:
    """Judge every file under the paths, each by itself."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as home:
        for path in paths:
            for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                tally.judge(file, Path(home))
    return tally.told()


def main(words: Sequence[str]) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    print(judge_all(map(Path, words)))


if __name__ == "__main__":
    main(sys.argv[1:])
