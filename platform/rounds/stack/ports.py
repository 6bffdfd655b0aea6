"""TCP ports on 127.0.0.1: which are free, and whose server listens on one."""

import os
import socket
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from rounds.stack.processes import Process, descendants

LOOPBACK = "127.0.0.1"
NEIGHBOURS = 200
LISTENING = "0A"  # as /proc/net/tcp has it


class NoFreePort(Exception):
    """Every port near the usual one is taken."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of 127.0.0.1 now.

    Asking does not listen, which would keep the port from whoever takes it at this moment.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(wanted: int, taken: Container[int] = ()) -> int:
    """Return `wanted`, or the next port above it that is free and not in `taken`."""
    for port in range(wanted, wanted + NEIGHBOURS):
        if port not in taken and is_free(port):
            return port
    raise NoFreePort(f"no free port from {wanted} to {wanted + NEIGHBOURS - 1} on {LOOPBACK}")


def listens(process: Process, port: int) -> bool:
    """Tell whether whoever listens on `port` is the process or was started by it.

    A process whose sockets this account may not see is believed, as is root's own PostgreSQL in a container.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    return bool(sockets) and any(_may_hold(pid, sockets) for pid in descendants(process))


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on `port`."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTENING and int(fields[1].partition(":")[2], 16) == port:
            yield fields[9]


def _may_hold(pid: int, sockets: Container[str]) -> bool:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return True
    except OSError:
        return False
    for handle in handles:
        with suppress(OSError):
            if os.readlink(handle) in sockets:
                return True
    return False
