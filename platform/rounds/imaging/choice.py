"""Which volume of a study to read when there are several; the rule is written down in `docs/ingest.md`."""

import re
from collections.abc import Sequence
from enum import IntEnum

from rounds.imaging.gate import Stack

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


def best_of(stacks: Sequence[Stack]) -> Stack:
    """Return the volume to read of a study's stacks, the same one in whatever order they come.

    Complete before partial, soft before sharp, thin before thick, then more slices. Raise ValueError without stacks.
    """
    tallest = max(_height(one) for one in stacks)

    def rank(one: Stack) -> tuple[bool, Kernel, float, int, str, str]:
        first = one.slices[0]
        partial = _height(one) < SHARED_HEIGHT * tallest
        thin = max(one.grid.spacing[0], THIN_ENOUGH_MM)
        return partial, kernel_of(first.kernel), thin, -len(one.slices), first.series_uid, first.instance_uid

    return min(stacks, key=rank)


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


def _height(one: Stack) -> float:
    return one.grid.shape[0] * one.grid.spacing[0]
