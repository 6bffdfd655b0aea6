"""The pixels of a multi-frame file, one frame at a time, each as a data set of its own that a decoder takes."""

from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate

from rounds.imaging.dicom import Unreadable, quietly, read_header, tags_of
from rounds.imaging.enhanced import FrameFile

_TAGS = tags_of(
    """SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit"""
)


class FramePixels:
    """An open multi-frame file; no more than one frame of it is in memory."""

    def __init__(self, path: Path) -> None:
        """Open a file; raise NotDicom or Unreadable."""
        self.path = path
        self._header = read_header(path, _TAGS)
        self._count, self._size = _sizes(self._header)
        self._file = FrameFile(path)

    def close(self) -> None:
        self._file.close()

    def frame(self, index: int) -> Dataset:
        """Return one frame as a file of its own would have it; raise Unreadable."""
        if not 0 <= index < self._count:
            raise Unreadable("there is no such frame")
        pixels = self._file.frame(index, self._count, self._size)
        with quietly():
            dataset = Dataset()
            dataset.update(self._header)
            dataset.file_meta = self._header.file_meta
            dataset.NumberOfFrames = 1
            if self._file.layout.encapsulated:
                dataset.PixelData = encapsulate([pixels])
                dataset["PixelData"].is_undefined_length = True
            else:
                dataset.PixelData = pixels
                dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
        return dataset


def _sizes(header: FileDataset) -> tuple[int, int]:
    """Return how many frames a file says it has, and how many bytes an uncompressed one takes."""
    try:
        with quietly():
            bits, samples = int(header.BitsAllocated), int(header.get("SamplesPerPixel", 1))
            size = int(header.Rows) * int(header.Columns) * samples * bits
            count = int(header.NumberOfFrames)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise Unreadable("the multi-frame file does not say how large its frames are") from error
    if size <= 0 or size % 8 or samples != 1:
        raise Unreadable("the frames have an impossible size")
    return count, size // 8
