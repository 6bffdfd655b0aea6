"""Text burned into the pixels of real slices: who it names, where, how large, how grey, and the same slices without."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian
from tests.bench.identities import CT_CLASS, Check, Identity, Kind, identity
from tests.bench.scorer import Planted

FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
BASES = (
    "covid-ct-md/COVID-19/P001/98C14734-ASSH_79.dcm",
    "covid-ct-md/CAP/cap002/IM0060.dcm",
    "totalseg-ct/example_ct_dicom",
    "dcmqi/data/segmentations/ct-3slice/01.dcm",
    "wg04/CT1_RLE",
)
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Style:
    """How a text is written: capital height in pixels or so, grey in HU, where (shares of the free space), turns."""

    size: int
    hu: int
    down: float
    right: float
    turns: int = 0
    strokes: bool = False
    told: bool = False


STYLES = (
    Style(14, 3071, 0.0, 0.0),
    Style(12, 400, 1.0, 1.0, strokes=True),
    Style(24, 3071, 0.5, 0.5, told=True),
    Style(12, 1000, 0.5, 0.0, turns=1),
    Style(14, -500, 1.0, 0.2),
    Style(40, 1000, 0.0, 0.5),
    Style(16, -1000, 0.55, 0.5),
    Style(9, 1000, 0.0, 1.0),
)


def planted_pixels(data: Path) -> Iterator[Planted]:
    """Yield each base as it is, uncompressed, to be kept, and with a text in every style, to be hidden."""
    for number, name in enumerate(BASES):
        path = data / name
        path = next(iter(sorted(path.iterdir()))) if path.is_dir() else path
        source = pydicom.dcmread(path)
        source.StudyInstanceUID, source.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
        source.SOPClassUID, source.SOPInstanceUID = CT_CLASS, f"1.2.3.{number}.1.1"
        stored = pixel_array(source, raw=True)
        kept = Check(Kind.PIXELS_RETAINED, ("PixelData",))
        yield Planted(f"pixels {number}", _file(source, stored), [kept], ())
        for turn, style in enumerate(STYLES):
            who = identity(100 + len(STYLES) * number + turn)
            inked, ink = _written(source, stored, _text(who, turn), style)
            given = _file(source, inked, told=style.told)
            check = Check(Kind.PIXELS_HIDDEN, ("PixelData",))
            yield replace(Planted(f"pixels {number} {turn}", given, [check], ()), ink=ink)


def _text(who: Identity, turn: int) -> str:
    return (f"{who.family}, {who.given[:1]}.", who.patient_id, f"{who.family[:9]} {who.born}")[turn % 3]


def _written(
    source: Dataset, stored: npt.NDArray[np.generic], text: str, style: Style
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Return the stored pixels with a text in them, and where its ink is."""
    mask = np.rot90(_drawn(text, style), style.turns)
    rows, columns = stored.shape
    top = int(4 + style.down * (rows - mask.shape[0] - 8))
    left = int(4 + style.right * (columns - mask.shape[1] - 8))
    paper = np.zeros(stored.shape, np.float64)
    paper[top : top + mask.shape[0], left : left + mask.shape[1]] = mask / 255.0
    value = (style.hu - float(source.RescaleIntercept)) / float(source.RescaleSlope)
    signed = source.PixelRepresentation == 1
    low, high = (
        (-(1 << source.BitsStored - 1), (1 << source.BitsStored - 1) - 1)
        if signed
        else (0, (1 << source.BitsStored) - 1)
    )
    inked = np.asarray(stored, np.float64) * (1 - paper) + np.clip(value, low, high) * paper
    return np.rint(inked).astype(stored.dtype), paper > 0.9


def _drawn(text: str, style: Style) -> Mask:
    if style.strokes:
        scale = style.size / 22
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        mask = np.zeros((height + below + 2, width + 2), np.uint8)
        cv2.putText(mask, text, (1, height + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), 1)
        return mask
    font = ImageFont.truetype(str(FONT), style.size)
    _, _, width, height = (int(value) for value in font.getbbox(text))
    picture = Image.new("L", (width + 2, height + 2))
    ImageDraw.Draw(picture).text((1, 1), text, font=font, fill=255)
    return np.asarray(picture, np.uint8)


def _file(source: Dataset, stored: npt.NDArray[np.generic], told: bool = False) -> bytes:
    data = pydicom.dcmread(io.BytesIO(_bytes(source)))
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    data["PixelData"].is_undefined_length = False
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if told:
        data.BurnedInAnnotation = "YES"
    return _bytes(data)


def _bytes(data: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data)
    return buffer.getvalue()
