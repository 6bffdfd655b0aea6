"""Volumes and masks as .nii.gz bytes that any NIfTI reader opens (axes x, y, z on disk, RAS affine, mm)."""

from typing import Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from rounds.imaging.grid import Affine, Grid
from rounds.imaging.volume import Volume

_LEVEL = 3
_GZIP = 31
"""A window of 32 KiB with a header and a checksum as gzip has them, and no date of the day."""


class NotALabelMask(Exception):
    """A NIfTI file does not hold whole label values from 0 to 255."""


class NotNifti(Exception):
    """The bytes are not a three-dimensional NIfTI image."""


def encode_volume(volume: Volume) -> bytes:
    """Write a volume as .nii.gz; the same volume always gives the same bytes."""
    return _encode(volume.array.astype(np.int16, copy=False), volume.affine)


def decode_volume(data: bytes) -> Volume:
    """Read a volume from .nii.gz (or .nii) bytes; values are rounded to int16. Raise NotNifti."""
    array, affine = _decode(data)
    if array.dtype != np.int16:
        array = np.clip(np.rint(array), -32768, 32767).astype(np.int16)
    grid = Grid.of(array.shape, affine)
    return Volume(array, grid.spacing, affine)


def encode_mask(mask: npt.NDArray[np.uint8], affine: Affine) -> bytes:
    """Write a mask of label values uint8 (z, y, x) as .nii.gz; the same mask always gives the same bytes."""
    if mask.dtype != np.uint8:
        raise NotALabelMask(f"a mask is uint8, this array is {mask.dtype}")
    return _encode(mask, affine)


def decode_mask(data: bytes) -> tuple[npt.NDArray[np.uint8], Affine]:
    """Read a mask uint8 (z, y, x) and its affine; raise NotNifti, or NotALabelMask if a value is not whole."""
    array, affine = _decode(data)
    if array.dtype != np.uint8:
        whole = np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255
        if not whole or not (array == np.rint(array)).all():
            raise NotALabelMask("the file holds values that are not whole numbers from 0 to 255")
        array = array.astype(np.uint8)
    return array, affine


def _encode(array: npt.NDArray[np.generic], affine: Affine) -> bytes:
    header: Any = cast(Any, nibabel).Nifti1Header()
    header.set_data_dtype(array.dtype.newbyteorder("<"))
    header.set_data_shape(array.shape[::-1])
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    header["scl_slope"] = 1
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
    parts = (packer.compress(header.binaryblock + bytes(4)), packer.compress(little.data), packer.flush())
    return b"".join(parts)


def _decode(data: bytes) -> tuple[npt.NDArray[Any], Affine]:
    try:
        raw = cast(Any, igzip).decompress(data) if data[:2] == b"\x1f\x8b" else data
        image = nibabel.Nifti1Image.from_bytes(raw)
        stored = np.asanyarray(image.dataobj)
    except Exception as error:
        raise NotNifti("the bytes are not a readable NIfTI image") from error
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim != 3:
        raise NotNifti(f"the image has {stored.ndim} dimensions, three are needed")
    array = np.ascontiguousarray(stored.T, dtype=stored.dtype.newbyteorder("="))
    return array, np.asarray(image.affine, dtype=np.float64)
