"""JPEG Lossless decodes to the very pixels that were compressed, and a stream that is cut is refused."""

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGLosslessSV1
from tests.unit.rounds.imaging.factories import slice_of

from rounds.demo.codecs import jpeg_lossless
from rounds.imaging import jpeg_lossless as fast
from rounds.imaging.dicom import quietly

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16]


def compressed(stored: Pixels, bits: int) -> Dataset:
    data = slice_of(0)
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = int(stored.dtype == np.int16)
    data.PixelData = encapsulate([jpeg_lossless(stored, bits)])
    data["PixelData"].is_undefined_length = True
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return data


def drawn(bits: int, signed: bool) -> Pixels:
    draw = np.random.default_rng(bits)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    smooth = np.cumsum(draw.integers(-3, 4, (64, 48)), axis=1)
    smooth[::7] = draw.integers(low, high, smooth[::7].shape)  # every difference that there can be
    clipped = np.clip(smooth, low, high - 1)
    return clipped.astype(np.int16) if signed else clipped.astype(np.uint16)


@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, False), (16, True), (12, True), (10, False)])
def test_decodes_what_was_compressed(bits: int, signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = drawn(bits, signed)
    monkeypatch.delattr(fast, "decode_with_gdcm")  # the fast way, and no other
    with quietly():
        decoded = pixel_array(compressed(stored, bits), raw=True, decoding_plugin=fast.PLUGIN)
    assert decoded.dtype == stored.dtype
    assert (decoded == stored).all()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_stream_that_is_cut_is_refused(kept: float) -> None:
    frame = jpeg_lossless(drawn(12, False), 12)
    data = compressed(drawn(12, False), 12)
    data.PixelData = encapsulate([frame[: int(len(frame) * kept) // 2 * 2]])
    with quietly(), pytest.raises(RuntimeError):
        pixel_array(data, raw=True, decoding_plugin=fast.PLUGIN)


def test_what_is_unusual_is_left_to_the_other_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = jpeg_lossless(drawn(12, False), 12)
    asked: list[bytes] = []

    def other(source: bytes, runner: object) -> bytes:
        asked.append(source)
        return bytes(64 * 48 * 2)

    monkeypatch.setattr(fast, "decode_with_gdcm", other)
    middle = frame.index(b"\xff\xda") + 400
    for odd in (
        frame[:middle] + b"\xff\xd9" + frame[middle + 2 :],  # an end before the end
        frame[:middle] + b"\xff\xda" + frame[middle + 2 :],  # a second scan
        frame[: frame.index(b"\xff\xda")] + b"\xff\xd9",  # no scan
    ):
        data = compressed(drawn(12, False), 12)
        data.PixelData = encapsulate([odd + b"\0" * (len(odd) % 2)])
        with quietly():
            pixel_array(data, raw=True, decoding_plugin=fast.PLUGIN)
    assert len(asked) == 3
