"""Which volume of a study to read when there are several; the rule is written down in `docs/ingest.md`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

SHARED_HEIGHT = 0.9
THIN_ENOUGH_MM = 1.0

_SIEMENS = re.compile(r"^[A-Z][A-Z]?(\d{2})[A-Z]?\b")
_CANON = re.compile(r"^FC(\d{2})\b")
_SOFT = {"SOFT", "STANDARD", "STND", "DETAIL", "CHEST", "SMOOTH", "A", "B", "C"}
_SHARP = {
    "LUNG",
    "BONE",
    "BONEPLUS",
    "EDGE",
    "ULTRA",
    "SHARP",
    "VSHARP",
    "D",
    "E",
    "L",
    "YA",
    "YB",
    "YC",
    "YD",
}
_SHARP_FROM = 50
_SHARP_FROM_CANON = 30


class Kernel(IntEnum):
    """How sharp a reconstruction is, the preferred first."""

    SOFT = 0
    UNKNOWN = 1
    SHARP = 2


@dataclass(frozen=True)
class Candidate:
    """One volume of a study: the height it covers and its step in mm, how sharp and how many slices; `key` names it."""

    key: str
    height_mm: float
    kernel: Kernel
    step_mm: float
    slices: int


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """Return the volume to read of a study, the same one in whatever order they come.

    Complete before partial, soft before sharp, thin before thick, then more slices. Raise ValueError without any.
    """
    tallest = max(one.height_mm for one in candidates)
    return min(candidates, key=lambda one: _rank(one, tallest))


def why(best: Candidate, others: Sequence[Candidate]) -> str:
    """Say in a few words what sets the best volume apart from the next best."""
    if not others:
        return "the only series of its study"
    second = best_of(others)
    tallest = max(one.height_mm for one in (best, *others))
    ranks = zip(_rank(best, tallest), _rank(second, tallest), _RULES, strict=True)
    rule = next((rule for mine, theirs, rule in ranks if mine != theirs), _RULES[-1])
    return f"best of {len(others) + 1} series of its study: {rule}"


_RULES = (
    "complete where the next is partial",
    "a softer kernel than the next",
    "thinner slices than the next",
    "more slices than the next",
    "alike in everything, first by key",
)


def _rank(one: Candidate, tallest: float) -> tuple[bool, Kernel, float, int, str]:
    partial = one.height_mm < SHARED_HEIGHT * tallest
    return partial, one.kernel, max(one.step_mm, THIN_ENOUGH_MM), -one.slices, one.key


def kernel_of(name: str) -> Kernel:
    """Judge a convolution kernel by its name: Siemens and Canon number theirs, GE, Philips and UIH name them."""
    given = name.split("/")[0].strip().upper()
    if found := _CANON.match(given):
        return Kernel.SHARP if int(found[1]) >= _SHARP_FROM_CANON else Kernel.SOFT
    if found := _SIEMENS.match(given):
        return Kernel.SHARP if int(found[1]) >= _SHARP_FROM else Kernel.SOFT
    words = set(given.split("_")) - {"B"} if "_" in given else {given}
    if words & _SHARP:
        return Kernel.SHARP
    return Kernel.SOFT if words & _SOFT else Kernel.UNKNOWN
