"""A fast decoder of JPEG Lossless (ITU-T T.81, process 14), what archives compress CT with: libjpeg-turbo for pydicom.

GDCM, which takes three times as long and holds the interpreter's lock, decodes what is unusual in any way.
"""

import numpy as np
from imagecodecs import jpeg8_decode
from pydicom.pixels.decoders.base import DecodeRunner, JPEGLosslessDecoder, JPEGLosslessSV1Decoder
from pydicom.pixels.decoders.gdcm import _decode_frame as decode_with_gdcm
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

PLUGIN = "libjpeg-turbo"
DECODER_DEPENDENCIES = {JPEGLossless: ("imagecodecs",), JPEGLosslessSV1: ("imagecodecs",)}

_END = b"\xff\xd9"
_SCAN = b"\xff\xda"
_RESTART = (0xD0, 0xD7)


def is_available(uid: str) -> bool:
    """Tell pydicom which transfer syntaxes are decoded here."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Return the pixels of one frame as bytes, as pydicom's own plugins do."""
    if runner.samples_per_pixel == 1 and runner.bits_allocated == 16 and _is_one_whole_scan(source):
        try:
            pixels = jpeg8_decode(source)
        except Exception:
            return decode_with_gdcm(source, runner)
        if pixels.dtype == "uint16" and pixels.shape == (runner.rows, runner.columns):
            return bytes(pixels.data)
    return decode_with_gdcm(source, runner)


def _is_one_whole_scan(source: bytes) -> bool:
    """Tell whether a stream has one scan that ends where it should: libjpeg-turbo fills up a cut one with grey."""
    end = len(source.rstrip(b"\0")) - len(_END)
    start = source.find(_SCAN)
    if start < 0 or source[end : end + 2] != _END:
        return False
    scan = np.frombuffer(source, np.uint8)[start + 2 : end]
    after = scan[1:][scan[:-1] == 0xFF]
    return not np.any((after != 0) & ((after < _RESTART[0]) | (after > _RESTART[1])))


for _decoder in (JPEGLosslessDecoder, JPEGLosslessSV1Decoder):
    if PLUGIN not in _decoder.available_plugins:
        _decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))
