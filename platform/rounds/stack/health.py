"""Waiting for a part to answer, and saying which one did not and where its log is."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import urllib3
from minio.error import MinioException

from rounds.stack.ports import listens
from rounds.stack.processes import Process, alive

SILENT = (httpx.HTTPError, psycopg.Error, urllib3.exceptions.HTTPError, MinioException, OSError)


class PartFailed(Exception):
    """A part of the stack ended or did not answer in time; the message names its log."""


class NotListening(OSError):
    """The process does not listen on its port: if somebody answers there, it is another."""


def answer(url: str, *, timeout: float = 3.0) -> httpx.Response:
    """GET `url` directly, past any proxy; raise httpx.HTTPError unless the answer is 2xx."""
    with httpx.Client(trust_env=False, timeout=timeout) as client:
        return client.get(url).raise_for_status()


def wait_until_up(
    name: str,
    probe: Callable[[], str],
    process: Process | None,
    log: Path,
    timeout: float,
    port: int | None = None,
) -> str:
    """Call `probe` until it returns the part's version; raise PartFailed when it ends or `timeout` s pass.

    With a `port`, an answer counts only if `process` itself listens there, and no other stack that was faster.
    """
    end = time.monotonic() + timeout
    while True:
        silence: Exception | None = None
        try:
            if process is not None and port is not None and not listens(process, port):
                raise NotListening
            version = probe()
        except SILENT as error:
            silence = error
        if process is not None and not alive(process):
            raise PartFailed(f"{name} ended while it was starting: see {log}")
        if silence is None:
            return version
        if time.monotonic() > end:
            raise PartFailed(
                f"{name} did not answer within {timeout:.0f} s ({type(silence).__name__}): see {log}"
            )
        time.sleep(0.2)
