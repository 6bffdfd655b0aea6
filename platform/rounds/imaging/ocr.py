"""Whether a picture of a line can be read, by a recogniser whose weights lie in its package (no network, CPU only).

What it reads never leaves this module: callers learn that there is text, not which.
"""

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

WEIGHTS = "PP-OCRv6_rec_small.onnx"
_HEIGHT = 48
_SURE = ((3, 0.9), (4, 0.85), (6, 0.7), (8, 0.6))
"""How sure the recogniser must be of so many letters: long lines of a script that it lacks read as look-alikes."""

_IDEOGRAPHS = 2
_MAX_WIDTH = 20


def is_text(picture: npt.NDArray[np.int16], contrast: int, letters: int) -> bool:
    """Tell whether bright strokes (y, x), of at least `contrast`, read as a line of `letters` or more."""
    text, sure = _read(_inked(picture, contrast))
    count = _letters(text)
    return count >= letters and any(count >= least and sure >= enough for least, enough in _SURE)


def _inked(picture: npt.NDArray[np.int16], contrast: int) -> npt.NDArray[np.uint8]:
    """Draw the strokes black on white, three channels, at the height that the recogniser wants."""
    top = max(float(np.percentile(picture, 98)), contrast)
    grey = 255 - np.clip(picture.astype(np.float32) * (255 / top), 0, 255).astype(np.uint8)
    scale = _HEIGHT / grey.shape[0]
    width = int(min(max(8, grey.shape[1] * scale), _HEIGHT * _MAX_WIDTH))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grown = cv2.resize(grey, (width, _HEIGHT), interpolation=how)
    return np.repeat(np.asarray(grown, np.uint8)[..., None], 3, axis=2)


def _letters(text: str) -> int:
    """Count different letters and digits (a row of clips reads as one letter many times); ideographs count double."""
    letters = {character for character in text if character.isalnum()}
    return sum(_IDEOGRAPHS if unicodedata.category(letter) == "Lo" else 1 for letter in letters)


def _read(picture: npt.NDArray[np.uint8]) -> tuple[str, float]:
    found: Any = _reader()(picture, use_det=False, use_cls=False, use_rec=True)
    return (found.txts[0], float(found.scores[0])) if found.txts else ("", 0.0)


@cache
def _reader() -> Any:
    """Load the recogniser, once a process, by the path of its weights: with a path it asks no server for them."""
    from rapidocr import RapidOCR  # half a second, which most processes need not wait for

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_det": False,
            "Global.use_cls": False,
            "Rec.model_path": str(files("rapidocr").joinpath("models", WEIGHTS)),
            "Rec.rec_img_shape": [3, _HEIGHT, 160],
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
