"""Free TCP ports on 127.0.0.1."""

import socket
from collections.abc import Container

LOOPBACK = "127.0.0.1"
NEIGHBOURS = 200


class NoFreePort(Exception):
    """Every port near the usual one is taken."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_port(wanted: int, taken: Container[int] = ()) -> int:
    """Return `wanted`, or the next port above it that is free and not in `taken`."""
    for port in range(wanted, wanted + NEIGHBOURS):
        if port not in taken and is_free(port):
            return port
    raise NoFreePort(f"no free port from {wanted} to {wanted + NEIGHBOURS - 1} on {LOOPBACK}")
