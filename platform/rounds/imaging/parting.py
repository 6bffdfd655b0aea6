"""Which slices of a series may belong to the same volume, where one series holds several."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from rounds.imaging.series import SliceHeader

MAX_VOLUMES = 8
_TOLERANCE = 1e-3

Groups = list[list[SliceHeader]]


def by_geometry(images: list[SliceHeader]) -> Groups:
    """Group slices of the same size, pixel spacing, orientation and frame of reference.

    No scanner makes more than eight volumes a series: of more, a ninth group holds all the rest, mixed as they are.
    """
    groups: Groups = []
    for one in images:
        for group in groups:
            if _geometry(group[0]) == _geometry(one) or not differences([group[0], one]):
                group.append(one)
                break
        else:
            if len(groups) > MAX_VOLUMES:
                groups[-1].append(one)
            else:
                groups.append([one])
    return groups


def differences(images: list[SliceHeader]) -> list[str]:
    """Name what of their geometry is not the same in all slices."""
    first = images[0]
    differing = {
        "size": any((one.rows, one.columns) != (first.rows, first.columns) for one in images),
        "pixel spacing": _differ([one.pixel_spacing for one in images]),
        "orientation": _differ([one.orientation for one in images]),
        "frame of reference": any(one.frame_of_reference != first.frame_of_reference for one in images),
    }
    return [name for name, differs in differing.items() if differs]


def by_acquisition(images: list[SliceHeader]) -> Iterator[Groups]:
    """Yield the ways to part slices that repeat positions, the surest first: by what was set, then by numbering."""
    for marks in _MARKS:
        found: dict[object, list[SliceHeader]] = {}
        for one in images:
            found.setdefault(marks(one), []).append(one)
        if 1 < len(found) <= MAX_VOLUMES:
            yield list(found.values())
    runs = _runs(images)
    if 1 < len(runs) <= MAX_VOLUMES:
        yield runs


_MARKS: tuple[Callable[[SliceHeader], object], ...] = (
    lambda one: one.kernel,
    lambda one: one.temporal,
    lambda one: one.acquisition,
    lambda one: one.image_type,
    lambda one: one.thickness,
    lambda one: one.kvp,
    lambda one: one.stack,
    lambda one: one.dimensions,
    lambda one: (
        *(one.kernel, one.temporal, one.acquisition, one.image_type, one.thickness, one.kvp),
        *(one.stack, one.dimensions),
    ),
)


def _geometry(one: SliceHeader) -> tuple[object, ...]:
    return one.rows, one.columns, one.pixel_spacing, one.orientation, one.frame_of_reference


def _runs(images: list[SliceHeader]) -> Groups:
    """Part slices, in the order of their instance numbers, wherever the table's direction turns or stops."""
    if len({one.number for one in images}) < len(images) or any(one.number is None for one in images):
        return []
    ordered = sorted(images, key=lambda one: one.number or 0)
    runs: Groups = [[ordered[0]]]
    direction = 0
    for before, one in pairwise(ordered):
        turn = int(np.sign(round(one.position[2] - before.position[2], 2)))
        if turn == 0 or direction not in (0, turn):
            runs.append([one])
            direction = 0
        else:
            runs[-1].append(one)
            direction = turn
    return runs


def _differ(rows: list[tuple[float, ...]]) -> bool:
    return bool(np.ptp(np.array(rows), axis=0).max() > _TOLERANCE)
