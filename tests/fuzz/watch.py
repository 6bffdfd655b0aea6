"""Watches over the files that a fuzzer makes: an exception, a slow file and one that takes too much memory are kept."""

import hashlib
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.judge import MEMORY_BYTES, Tally

MOST_SECONDS = 10.0
TOLD_SECONDS = 1.0
_DIRECTORY = b"1.2.840.10008.1.3.10"


class Watch:
    """One run in one process: the files judged so far, and where what was found lies."""

    def __init__(self, out: Path, seconds: float, executions: int) -> None:
        self.tally = Tally()
        self._out, self._executions = out, executions
        self._home = Path(tempfile.mkdtemp(dir=out))
        self._end = time.monotonic() + seconds
        self._told = 0.0
        self._known: set[str] = set()

    def judge(self, data: bytes) -> None:
        """Judge one input, keep it if it is a finding, one for every place; leave the process when it was the last."""
        path = self._home / ("DICOMDIR" if _DIRECTORY in data[:1024] else "file")
        path.write_bytes(data)
        slowest = self.tally.slowest
        try:
            took = self.tally.judge(path, self._home)
        except Exception as error:
            self.tally.files += 1
            self._keep("exception", data, _place(error), traceback.format_exc())
        else:
            if took > slowest:
                (self._out / "slowest").write_bytes(data)
            if took > MOST_SECONDS:
                self._keep("slow", data, "", f"{took:.1f} s")
        path.unlink()
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if used > MEMORY_BYTES:
            self._keep("memory", data, "", f"{used >> 20} MiB")
            self._leave(1)
        now = time.monotonic()
        if now >= self._end or self.tally.files >= self._executions:
            self._leave(0)
        if now > self._told + TOLD_SECONDS:
            self._told = now
            self._tell()

    def _keep(self, kind: str, data: bytes, place: str, told: str) -> None:
        if kind + place not in self._known:
            self._known.add(kind + place)
            file = self._out / "findings" / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
            file.write_bytes(data)
            file.with_suffix(".txt").write_text(told)

    def _tell(self) -> None:
        (self._out / "tally.json").write_text(self.tally.told())

    def _leave(self, code: int) -> None:
        self._tell()
        sys.stderr.flush()
        os._exit(code)  # the fuzzer knows no other way to stop after so many


def _place(error: BaseException) -> str:
    """Name the place that an exception came from, to tell findings apart."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} {last.filename}:{last.lineno}"
