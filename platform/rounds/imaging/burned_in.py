"""Text drawn into the pixels of a volume: looked for in every slice where it is plain, on a sample where it is faint.

A report names slice and region, never the text.
"""

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rounds.imaging.ocr import is_text
from rounds.imaging.series import SliceHeader
from rounds.imaging.strokes import Line, Plane, lines_in, strokes_of, strong_strokes_of

SAMPLE = 5
"""Slices in which faint text is looked for: the lowest, the middle, the highest, and others drawn at random."""

PLAIN = ((1400, 3),)
"""HU between text and what surrounds it. No anatomy has strokes like that, so every slice can be searched for them."""

FAINT = ((250, 4), (700, 4), (1400, 3), (2200, 3))
STILL = ((60, 4), (120, 4))
"""HU for strokes that are the same in the whole sample, which anatomy is not."""

MAX_READINGS = 80
"""Lines read in one volume, the hinted slices' aside: enough for ten times what a scan of a chest offers."""

_LONG = 6
_SCREEN_WORDS = {"SECONDARY", "SCREEN SAVE", "DERIVED"}
Reads = Callable[[npt.NDArray[np.int16], int, int], bool]


@dataclass(frozen=True)
class Written:
    """Where text was found first: the slice (0 the lowest) and a region such as "top left"."""

    slice: int
    region: str


def hints_at_text(one: SliceHeader) -> bool:
    """Tell whether a header says that the image may have text in it, or was made from another one."""
    return one.burned_in or not _SCREEN_WORDS.isdisjoint(one.image_type)


def find_text(
    volume: npt.NDArray[np.int16], hinted: Collection[int] = (), reads: Reads = is_text
) -> Written | None:
    """Return where a volume (z, y, x) in HU has text in its pixels first, or None.

    Slices in `hinted` are searched for faint text as the sample is. `reads` tells whether strokes are text.
    """
    search = _Search(reads)
    sample = _sample(len(volume))
    for index in (*sample, *(one for one in hinted if one not in sample)):
        search.allow(0 if index in sample else MAX_READINGS // SAMPLE)
        if found := search.faint(volume[index]):
            return Written(index, found)
    for index in range(len(volume)):
        if found := search.plain(volume[index]):
            return Written(index, found)
    found = search.still([volume[index] for index in sample])
    return Written(sample[0], found) if found else None


def _sample(count: int) -> tuple[int, ...]:
    """Return the slices of the sample in order, the same for the same count."""
    chosen = {0, count // 2, count - 1}
    others = [index for index in range(count) if index not in chosen]
    drawn = random.Random(count).sample(others, min(len(others), SAMPLE - len(chosen)))
    return tuple(sorted(chosen.union(drawn)))


class _Search:
    """One volume's search: how many lines may still be read."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._left = MAX_READINGS

    def allow(self, more: int) -> None:
        self._left += more

    def plain(self, plane: Plane) -> str:
        """Return the region of text in strong contrast, or nothing."""
        sides, corner = strong_strokes_of(plane, PLAIN[0][0])
        return self._among(sides, PLAIN, plane.shape, corner)

    def faint(self, plane: Plane) -> str:
        """Return the region of text in any contrast, small or up to a sixth of the picture high, or nothing."""
        found = self._among(strokes_of(plane), FAINT, plane.shape)
        if found or min(plane.shape) < 256:
            return found
        half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return self._among(strokes_of(np.asarray(half, np.int16)), FAINT, half.shape)

    def still(self, planes: list[Plane]) -> str:
        """Return the region of text that is the same in all planes, or nothing."""
        if len(planes) < 3:
            return ""
        both = [strokes_of(plane) for plane in planes]
        kept = [np.minimum.reduce([pair[side] for pair in both]) for side in (0, 1)]
        return self._among((kept[0], kept[1]), STILL, planes[0].shape)

    def _among(
        self,
        sides: tuple[Plane, Plane],
        levels: tuple[tuple[int, int], ...],
        shape: tuple[int, ...],
        corner: tuple[int, int] = (0, 0),
    ) -> str:
        """Return the region in slices of `shape` where a line can be read in planes that begin at `corner`."""
        seen: set[tuple[int, ...]] = set()
        for contrast, letters in levels:
            for side, strokes in enumerate(sides):
                for line in lines_in(strokes, contrast, letters):
                    place = (
                        side,
                        line.upright,
                        line.top // 4,
                        line.left // 4,
                        line.height // 4,
                        line.width // 4,
                    )
                    if place not in seen and self._readable(line, contrast, letters):
                        return _region(line, shape, corner)
                    seen.add(place)
        return ""

    def _readable(self, line: Line, contrast: int, letters: int) -> bool:
        for picture in _turned(line):
            if self._left <= 0:
                return False
            self._left -= 1
            if self._reads(picture, contrast, letters):
                return True
        return False


def _turned(line: Line) -> Iterator[Plane]:
    """Yield a line as it may have to be held to be read; a short one is not tried upside down."""
    turns = (1, 3) if not line.upright else (0, 2) if line.glyphs >= _LONG else (0,)
    for quarters in turns:
        yield np.ascontiguousarray(np.rot90(line.picture, quarters))


def _region(line: Line, shape: tuple[int, ...], corner: tuple[int, int]) -> str:
    """Say in which ninth of the slice a line lies, as the slice is stored."""
    down = min(2, int(3 * (corner[0] + line.top + line.height / 2) / shape[0]))
    right = min(2, int(3 * (corner[1] + line.left + line.width / 2) / shape[1]))
    words = (("top", "middle", "bottom")[down], ("left", "middle", "right")[right])
    return "middle" if words == ("middle", "middle") else " ".join(words)
