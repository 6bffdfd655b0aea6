"""Stacked bar charts as data, and where every bar, line and word of them stands on an SVG canvas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 640
BAR, GAP = 20, 9
TOP, RIGHT, AXIS = 30, 52, 40
HEIGHT = 200
LETTER = 6.6
LONGEST = 38


@dataclass(frozen=True)
class Series:
    """One colour of a stacked bar chart: a value for every category."""

    name: str
    colour: str
    values: Sequence[int]


@dataclass(frozen=True)
class Figure:
    """A stacked bar chart; `across` lays the bars along the x axis, for long names. `unit` is what is counted.

    In a histogram the categories are the lower edges of its bins and `end` is the upper edge of the last.
    """

    name: str
    title: str
    unit: str
    axis: str
    categories: Sequence[str]
    series: Sequence[Series]
    across: bool = True
    histogram: bool = False
    end: str = ""

    @property
    def totals(self) -> list[int]:
        return [sum(series.values[index] for series in self.series) for index in range(len(self.categories))]

    @property
    def shown(self) -> list[Series]:
        """The series that have anything to show, all of them when none has."""
        return [series for series in self.series if any(series.values)] or list(self.series)


@dataclass(frozen=True)
class Rect:
    """A bar or a key of the legend, in pixels, with what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str


@dataclass(frozen=True)
class Line:
    """A line of the grid, in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Word:
    """A text, in pixels; `anchor` as SVG has it."""

    x: float
    y: float
    text: str
    anchor: str


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be written as SVG."""

    title: str
    width: float
    height: float
    rects: Sequence[Rect]
    lines: Sequence[Line]
    words: Sequence[Word]


def draw(figure: Figure) -> Drawing:
    """Lay a figure out; bars start at zero and lengths are proportional to counts."""
    return _across(figure) if figure.across else _upright(figure)


def ticks(most: int) -> list[int]:
    """Return whole numbers from 0 to at least `most`, at most five steps of 1, 2 or 5 times a power of ten."""
    rough = max(most, 1) / 5
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * index for index in range(math.ceil(max(most, 1) / step) + 1)]


def _across(figure: Figure) -> Drawing:
    left = 14 + LETTER * max((len(_short(name)) for name in figure.categories), default=0)
    scale = ticks(max(figure.totals, default=0))
    step = (WIDTH - left - RIGHT) / scale[-1]
    bottom = TOP + GAP + len(figure.categories) * (BAR + GAP)
    rects, words = _legend(figure, left)
    lines = []
    for value in scale:
        x = round(left + value * step, 1)
        lines.append(Line(x, TOP, x, bottom))
        words.append(Word(x, bottom + 15, str(value), "middle"))
    for index, (name, total) in enumerate(zip(figure.categories, figure.totals, strict=True)):
        y, x = TOP + GAP + index * (BAR + GAP), left
        words.append(Word(left - 8, y + BAR - 6, _short(name), "end"))
        for series in figure.shown:
            width = series.values[index] * step
            if width:
                rects.append(_bar(x, y, width, BAR, series, name, index))
            x += width
        words.append(Word(round(x + 6, 1), y + BAR - 6, str(total), "start"))
    words.append(Word((left + WIDTH - RIGHT) / 2, bottom + 33, figure.unit, "middle"))
    return Drawing(figure.title, WIDTH, bottom + AXIS, rects, lines, words)


def _upright(figure: Figure) -> Drawing:
    left, right, bottom = 64, WIDTH - 14, TOP + HEIGHT
    scale = ticks(max(figure.totals, default=0))
    step = HEIGHT / scale[-1]
    slot = (right - left) / max(len(figure.categories), 1)
    rects, words = _legend(figure, left)
    lines = []
    for value in scale:
        y = round(bottom - value * step, 1)
        lines.append(Line(left, y, right, y))
        words.append(Word(left - 8, y + 4, str(value), "end"))
    longest = max((len(name) for name in figure.categories), default=1)
    every = max(1, math.ceil(longest * LETTER / slot))
    inset = 0.5 if figure.histogram else slot * 0.14
    for index, name in enumerate(figure.categories):
        x, y = left + index * slot, float(bottom)
        if index % every == 0:
            place = x if figure.histogram else x + slot / 2
            words.append(Word(round(place, 1), bottom + 15, name, "middle"))
        for series in figure.shown:
            height = series.values[index] * step
            y -= height
            if height:
                rects.append(_bar(x + inset, y, slot - 2 * inset, height, series, name, index))
    if figure.histogram and len(figure.categories) % every == 0:
        words.append(Word(right, bottom + 15, figure.end, "middle"))
    words.append(Word((left + right) / 2, bottom + 33, figure.axis, "middle"))
    words.append(Word(left - 8, TOP - 12, figure.unit, "end"))
    return Drawing(figure.title, WIDTH, bottom + AXIS, rects, lines, words)


def _bar(x: float, y: float, width: float, height: float, series: Series, name: str, index: int) -> Rect:
    title = f"{name}, {series.name}: {series.values[index]}"
    return Rect(round(x, 1), round(y, 1), round(width, 1), round(height, 1), series.colour, title)


def _legend(figure: Figure, left: float) -> tuple[list[Rect], list[Word]]:
    rects: list[Rect] = []
    words: list[Word] = []
    x = left
    for series in figure.shown if len(figure.series) > 1 else ():
        rects.append(Rect(round(x, 1), 6, 12, 12, series.colour, series.name))
        words.append(Word(round(x + 18, 1), 16, series.name, "start"))
        x += 36 + LETTER * len(series.name)
    return rects, words


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
