"""Encapsulated pixel data: RLE by pydicom, and JPEG Lossless by GDCM, since pydicom has no encoder for it."""

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import JPEGLosslessSV1, RLELossless

Stored = npt.NDArray[np.int16] | npt.NDArray[np.uint16]


class NotEncoded(Exception):
    """GDCM refused to compress an image."""


def jpeg_lossless(stored: Stored, bits: int) -> bytes:
    """Compress one frame (rows, columns) to JPEG Lossless, process 14, selection value 1."""
    writer = gdcm.ImageWriter()  # owns the image: it must live as long
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stored.shape[1], stored.shape[0], 1))
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    signed = int(stored.dtype == np.int16)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, signed))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(stored.tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGLosslessSV1))))
    change.SetInput(image)
    if not change.Change():
        raise NotEncoded(f"JPEG Lossless of a {stored.shape[0]} x {stored.shape[1]} frame failed")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    frame: str = fragments.GetFragment(0).GetByteValue().GetBuffer()
    data = frame.encode("utf-8", "surrogateescape")
    return data + b"\0" * (len(data) % 2)


def run_length(stored: Stored, bits: int) -> bytes:
    """Compress one frame (rows, columns) to DICOM RLE."""
    frame: bytes = get_encoder(RLELossless).encode(
        stored.tobytes(),
        encoding_plugin="gdcm",
        rows=stored.shape[0],
        columns=stored.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=bits,
        pixel_representation=int(stored.dtype == np.int16),
        photometric_interpretation="MONOCHROME2",
    )
    return frame
