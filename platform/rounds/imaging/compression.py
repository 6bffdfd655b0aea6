"""How much of a slice was lost to compression, by what its header and its size say."""

from rounds.imaging.series import SliceHeader

_ALWAYS_LOSSY = {
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS, near-lossless
}
_EITHER = {
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.203",  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.112",  # JPEG XL
}
_BYTES_PER_PIXEL = 2


def lost(one: SliceHeader, most: float) -> str:
    """Say by what ratio a slice was compressed with loss if that is more than `most` or unknown, else nothing.

    The header's own ratio counts (PS3.3 C.7.6.1.1.5); without one, the pixels' size against the file's. A syntax that
    can do both is taken to be lossy unless the header says that it is not.
    """
    compressed = one.transfer_syntax in _ALWAYS_LOSSY | _EITHER
    denied = one.lossy == "00" and one.transfer_syntax not in _ALWAYS_LOSSY
    if denied or not (one.lossy == "01" or one.lossy_ratio or compressed):
        return ""
    measured = (one.rows or 0) * (one.columns or 0) * _BYTES_PER_PIXEL / max(1, one.file_bytes)
    ratio = max(one.lossy_ratio or 0.0, measured if compressed else 0.0)
    if ratio == 0:
        return "by an unknown ratio"
    return f"{ratio:.1f}:1, at most {most:.0f}:1 allowed" if ratio > most else ""
