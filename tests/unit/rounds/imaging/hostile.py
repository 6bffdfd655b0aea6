"""A process that is given hostile files, under a limit of memory: `python hostile.py corpus PATH...` or
`python hostile.py fuzz SECONDS PATH...`. It prints one JSON document: files, slowest in seconds, peak in MiB, outcomes.
Anything but a stack or a refusal is an exception, and ends it."""

import faulthandler
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rounds.imaging.deid import deidentify
from rounds.imaging.dicom import NotDicom, Unreadable
from rounds.imaging.gate import examine
from rounds.imaging.refusal import Reason
from rounds.imaging.series import Series, find_series
from rounds.imaging.volume import VolumeRefused, load_slices

MEMORY_BYTES = 2 * 2**30
SOUND_BUT_ALONE = {Reason.TOO_FEW_SLICES, Reason.UNCLEAR_IDENTITY}

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_PIXELS = b"\xe0\x7f\x10\x00"

Change = tuple[str, float, bytes]


@dataclass
class Tally:
    """What has become of the files so far."""

    files: int = 0
    slowest: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def judge(self, path: Path) -> None:
        """Take a file as far as ingest would, and decode and de-identify it if only its siblings are missing."""
        start = time.monotonic()
        found = find_series(path)
        self.outcomes.update(str(one.code) for one in found.unreadable)
        self.outcomes["not_dicom"] += found.not_dicom
        self.outcomes["directory"] += found.directories
        for series in found.series:
            self._series(series)
        self.files += 1
        self.slowest = max(self.slowest, time.monotonic() - start)

    def _series(self, series: Series) -> None:
        verdict = examine(series)
        codes = {one.code for one in verdict.refusals}
        assert verdict.stacks or codes
        if codes - SOUND_BUT_ALONE:
            self.outcomes.update(str(code) for code in codes - SOUND_BUT_ALONE)
            return
        try:
            for one, plane in zip(series.slices, load_slices(series.slices), strict=True):
                assert plane.shape == (one.rows, one.columns)
            for path in series.files:
                deidentify(path, bytes(32), "site")
        except VolumeRefused as refused:
            self.outcomes[str(refused.refusal.code)] += 1
        except (NotDicom, Unreadable):
            self.outcomes[str(Reason.UNDECODABLE)] += 1
        else:
            self.outcomes["slice"] += 1

    def told(self) -> str:
        peak = int(_PEAK.findall(Path("/proc/self/status").read_text())[0]) // 1024
        known = {name: count for name, count in sorted(self.outcomes.items()) if count}
        return json.dumps(
            {"files": self.files, "slowest_s": self.slowest, "peak_mb": peak, "outcomes": known}
        )


def corpus(paths: Iterable[Path]) -> str:
    """Judge every file under the paths."""
    tally = Tally()
    for path in paths:
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            tally.judge(file)
    return tally.told()


def fuzz(seconds: float, paths: list[Path]) -> str:
    """Judge mutations of the files for some seconds, the same ones in every run until the time is up."""
    tally = Tally()
    seeds = [path.read_bytes() for path in paths]
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "mutant.dcm"

        @given(st.integers(0, len(seeds) - 1), st.lists(_changes(), min_size=1, max_size=6))
        @settings(
            max_examples=200,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def mutate(which: int, changes: list[Change]) -> None:
            if time.monotonic() < end:
                target.write_bytes(_mutant(seeds[which], changes))
                tally.judge(target)

        round_of = 0
        while time.monotonic() < end:
            seed(round_of)(mutate)()
            round_of += 1
    return tally.told()


def _changes() -> st.SearchStrategy[Change]:
    """Draw what to do, where (also near the front and, below 0, after the start of the pixels), and with what."""
    kinds = st.sampled_from(["set", "insert", "cut", "repeat", "length", "tail"])
    anywhere = st.floats(0, 1, exclude_max=True)
    pixels = anywhere.map(lambda place: -1e-6 - place**4)
    places = st.one_of(anywhere.map(lambda place: place**4), anywhere, pixels)
    extremes = st.sampled_from(
        [b"\xff\xff\xff\xff", b"\xfe\xff\xff\x7f", b"\0\0\0\0", b"\xfe\xff\x00\xe0", b"SQ", b"UN"]
    )
    return st.tuples(kinds, places, st.one_of(extremes, st.binary(min_size=1, max_size=8)))


def _mutant(data: bytes, changes: list[Change]) -> bytes:
    mutant = bytearray(data)
    for kind, place, value in changes:
        first = max(0, mutant.find(_PIXELS)) if place < 0 else 0
        at = first + int(abs(place) * (len(mutant) - first))
        match kind:
            case "set":
                mutant[at : at + len(value)] = value
            case "insert":
                mutant[at:at] = value
            case "cut":
                del mutant[at : at + 1 + value[0]]
            case "repeat":
                mutant[at:at] = mutant[at : at + 64] * (1 + value[0])
            case "length":
                mutant[at & ~1 : (at & ~1) + 4] = (value * 4)[:4]
            case _:
                del mutant[at:]
    return bytes(mutant)


def main(words: list[str]) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if words[0] == "corpus":
        print(corpus(Path(word) for word in words[1:]))
    else:
        print(fuzz(float(words[1]), [Path(word) for word in words[2:]]))


if __name__ == "__main__":
    main(sys.argv[1:])
