"""What the fuzzer runs, in a process of its own: `target.py OUT SEED SECONDS EXECUTIONS FLAG...`.

A crash, too much memory or a file without an end kills the process; the fuzzer leaves that file in OUT/findings.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rounds.imaging", "rounds.cases", "pydicom"]):
    from tests.fuzz.judge import MEMORY_BYTES
    from tests.fuzz.watch import Watch

KILL_SECONDS = 30
MAX_BYTES = 2**20


def main(words: list[str]) -> None:
    out, seed, seconds, executions, *flags = words
    watch = Watch(Path(out), float(seconds), int(executions))
    flags = [
        *(f"-seed={seed}", f"-artifact_prefix={out}/findings/", f"-timeout={KILL_SECONDS}"),
        *(f"-rss_limit_mb={MEMORY_BYTES >> 20}", "-len_control=0", f"-max_len={MAX_BYTES}", *flags),
    ]
    atheris.Setup([sys.argv[0], *flags], watch.judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
