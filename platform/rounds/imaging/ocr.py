"""Whether a picture of a line can be read, by a recogniser whose weights lie in its package (no network, CPU only).

What it reads never leaves this module: callers learn that there is text, not which.
"""

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

WEIGHTS = "PP-OCRv6_rec_small.onnx"
_HEIGHT = 48
_MIN_WIDTH = 160
_BLANK = 0
_ERRORS = 3
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
    """Read a line; return its text and the mean of how sure the recogniser is of each character."""
    width = picture.shape[1]
    line = np.zeros((1, 3, _HEIGHT, max(width, _MIN_WIDTH)), dtype=np.float32)
    line[0, :, :, :width] = (picture.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)
    session, characters = _reader()
    (shares,) = session.run(None, {session.get_inputs()[0].name: line})
    best = shares[0].argmax(axis=1)  # of each step, (steps, characters)
    told = np.flatnonzero((best != _BLANK) & np.append(True, best[1:] != best[:-1]))
    if not len(told):
        return "", 0.0
    text = "".join(characters[best[step]] for step in told)
    return text, float(shares[0].max(axis=1)[told].mean())


@cache
def _reader() -> tuple[Any, tuple[str, ...]]:
    """Load the recogniser, once a process, and the characters that it knows; its package is not run for that.

    The package's own pipeline takes five times as long to load, and 40 MB more, for steps that are done here.
    """
    import onnxruntime  # a tenth of a second with the weights, which most processes need not wait for

    package = find_spec("rapidocr")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("rapidocr is not installed: run `make setup`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _ERRORS
    weights = str(Path(package.origin).with_name("models") / WEIGHTS)
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return session, ("", *known, " ")
