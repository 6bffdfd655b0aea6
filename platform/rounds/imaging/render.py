"""Slices and masks as PNG bytes for screens."""

import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

Window = tuple[float, float]

_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
)
"""For colours; half the time of letting libpng choose a filter per row, for 5 % more bytes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _SUB = 0, 1
_LEVEL = 1


def slice_png(slice2d: npt.NDArray[np.int16], window: Window) -> bytes:
    """Draw one slice (y, x) in HU as an 8-bit grey PNG; `window` (low, high) HU goes from black to white."""
    grey = cv2.LUT(slice2d.view(np.uint16), window_table(window))
    return grey_png(grey.astype(np.uint8, copy=False))


def grey_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write grey values (y, x) as PNG (ISO/IEC 15948): each row as differences to the left, deflated by ISA-L.

    On chest slices a third of libpng's time, for 5 % more bytes.
    """
    height, width = pixels.shape
    rows = np.empty((height, width + 1), dtype=np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=rows[:, 2:])
    head = struct.pack(">LLBBBBB", width, height, 8, _GREY, 0, 0, 0)
    packed = isal_zlib.compress(rows, _LEVEL)
    return b"".join((_SIGNATURE, *_chunk(b"IHDR", head), *_chunk(b"IDAT", packed), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">L", len(data)), kind, data, struct.pack(">L", zlib.crc32(data, zlib.crc32(kind)))


def overlay_png(mask2d: npt.NDArray[np.uint8], colours: Mapping[int, str], alpha: int = 255) -> bytes:
    """Draw one mask (y, x) as an RGBA PNG: label value to "#rrggbb", transparent elsewhere."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for value, colour in colours.items():
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        table[value] = (blue, green, red, alpha)
    return _png(table[mask2d])


@lru_cache(maxsize=16)
def window_table(window: Window) -> npt.NDArray[np.uint8]:
    """Return the grey value of every int16 HU, indexed by its bits as uint16."""
    low, high = window
    if high <= low:
        raise ValueError(f"a window goes from low to high HU, not {window}")
    values = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float64)
    grey = np.rint((values - low) * (255.0 / (high - low)))
    return np.clip(grey, 0, 255).astype(np.uint8)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    done, encoded = cv2.imencode(".png", pixels, _PNG)
    if not done:
        raise ValueError(f"an image of shape {pixels.shape} cannot be written as PNG")
    return bytes(encoded)
