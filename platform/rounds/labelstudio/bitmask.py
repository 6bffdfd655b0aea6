"""How Label Studio writes one bitmask: a PNG in a data URL whose alpha channel is the mask."""

import base64
import binascii
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

from rounds.labelstudio.errors import SyncError

PREFIX = "data:image/png;base64,"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ALPHA_THRESHOLD = 128
Plane = npt.NDArray[np.bool_]


def encode_bitmask(plane: Plane) -> str:
    """Return the data URL of `plane` (y, x): a 1-bit palette PNG, black, transparent where False."""
    height, width = plane.shape
    packed = np.packbits(plane, axis=1)
    rows = np.zeros((height, packed.shape[1] + 1), np.uint8)
    rows[:, 1:] = packed
    png = b"".join(
        [
            SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(6)),
            _chunk(b"tRNS", b"\x00\xff"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)),
            _chunk(b"IEND", b""),
        ]
    )
    return PREFIX + base64.b64encode(png).decode("ascii")


def decode_bitmask(url: str, shape: tuple[int, int]) -> Plane:
    """Return the plane (y, x) of a data URL, True where alpha is 128 or more.

    Strokes are antialiased, hence the threshold. Raises SyncError when it is no PNG, has another size than
    `shape`, or has no alpha channel.
    """
    if not url.startswith(PREFIX):
        raise SyncError("a region's mask is not a PNG data URL")
    try:
        png = base64.b64decode(url[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise SyncError("a region's mask is not base64") from error
    if png[:8] != SIGNATURE or len(png) < 24:
        raise SyncError("a region's mask is not a PNG")
    if not _is_whole(png):
        raise SyncError("a region's PNG is damaged")
    width, height = struct.unpack(">II", png[16:24])
    if (height, width) != shape:
        raise SyncError(f"a region's mask is {height} x {width} pixels, its slice {shape[0]} x {shape[1]}")
    try:
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SyncError("a region's PNG is damaged") from error
    if pixels is None:
        raise SyncError("a region's PNG is damaged")
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise SyncError("a region's PNG has no alpha channel")
    plane: Plane = pixels[..., 3] >= ALPHA_THRESHOLD
    return plane


def _is_whole(png: bytes) -> bool:
    """Return whether every chunk up to IEND is there with its checksum; decoders fill holes without a word."""
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body, end = png[at + 4 : at + 8 + length], at + 12 + length
        if end > len(png) or struct.pack(">I", zlib.crc32(body)) != png[end - 4 : end]:
            return False
        if body[:4] == b"IEND":
            return True
        at = end
    return False


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
