"""Simulated readers: how annotators draw and revise, how checkers and seniors judge, and how long drawing takes."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rounds.demo.outlines import (
    Region,
    excess,
    frame,
    grown,
    missed_pieces,
    pieces_of,
    strayed,
    wobble,
)
from rounds.imaging.grid import Spacing

Mask = npt.NDArray[np.uint8]
REASONS = ("missed_lesion", "false_lesion", "boundary", "wrong_label")


@dataclass(frozen=True)
class Skill:
    """How an annotator works; shares are of labels. With a pre-label he errs as the paper's Group A did at first.

    `defect`: a label is submitted with one serious fault (paper A: 80 % passed both checkers at first; the faults
    were missed small lesions and inexact boundaries). `invent`: a lesion is drawn in a healthy scan.
    """

    defect: float = 0.24
    invent: float = 0.05
    kinds: tuple[float, float, float] = (0.55, 0.33, 0.12)


@dataclass(frozen=True)
class Pace:
    """Seconds that drawing takes. Neither paper reports them: they are assumed, of the order of a trained reader's.

    `case` to open and submit, `slice_` to scroll past one, `outline` to start on a slice, `area` per cm2 drawn or
    changed; `spread` is the deviation of the logarithm.
    """

    case: float = 20.0
    slice_: float = 0.4
    outline: float = 6.0
    area: float = 1.2
    spread: float = 0.15


@dataclass(frozen=True)
class Eye:
    """How somebody judges: boundary tolerance (share of the lesion), share of faults seen, needless failures."""

    tolerance: float = 0.06
    notice: float = 0.88
    doubt: float = 0.02


@dataclass(frozen=True)
class Drawn:
    """What was drawn: mask (z, y, x) of label values, seconds it took, slices that were edited."""

    mask: Mask
    seconds: float
    touched_slices: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """What a checker or a senior says: coded reasons, up to three slices that show them, a note."""

    passed: bool
    reasons: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()
    note: str = ""


ANNOTATOR = Skill()
PACE = Pace()
CHECKER = Eye()
SENIOR = Eye(tolerance=0.09, notice=0.98, doubt=0.002)


def named(header: str) -> tuple[str, ...]:
    """Return the coded reasons that the header of a revision task names."""
    said = header.lower().replace("_", " ")
    return tuple(reason for reason in REASONS if reason.replace("_", " ") in said)


def annotate(
    truth: Mask,
    prelabel: Mask | None,
    rng: np.random.Generator,
    spacing: Spacing,
    skill: Skill = ANNOTATOR,
    pace: Pace = PACE,
) -> Drawn:
    """Draw `truth` (z, y, x) as a hurried reader does, or correct `prelabel`: right slices stay as they are."""
    box = frame(truth, truth if prelabel is None else prelabel, spacing=spacing)
    true = truth[box] > 0
    offered = None if prelabel is None else prelabel[box] > 0
    kind = _kind_of_fault(true, rng, skill)
    if offered is None:
        drawn = _from_nothing(true, kind, rng, spacing)
    else:
        drawn = _corrected(true, offered, kind, rng, spacing)
    mask = np.zeros_like(truth)
    mask[box] = _values(drawn, truth[box])
    return _timed(mask, prelabel, rng, spacing, pace)


def revise(
    mask: Mask,
    truth: Mask,
    reasons: Collection[str],
    rng: np.random.Generator,
    spacing: Spacing,
    pace: Pace = PACE,
) -> Drawn:
    """Mend what the `reasons` name in `mask` and nothing else; without a reason that can be drawn, look for all."""
    asked = set(reasons) & set(REASONS) or set(REASONS)
    box = frame(mask, truth, spacing=spacing)
    drawn, true = mask[box] > 0, truth[box] > 0
    if "false_lesion" in asked:
        drawn = drawn & ~excess(drawn, true, spacing)
    if "boundary" in asked:
        known = np.isin(pieces_of(true), np.unique(pieces_of(true)[drawn])) & true
        drawn = wobble(known, rng, spacing) | excess(drawn, true, spacing)
    if "missed_lesion" in asked:
        drawn = drawn | wobble(missed_pieces(drawn, true, spacing), rng, spacing)
    result = np.zeros_like(mask)
    values = mask[box] if "wrong_label" not in asked else truth[box]
    result[box] = _values(drawn, np.where(values > 0, values, truth[box]))
    return _timed(result, mask, rng, spacing, pace)


def check(mask: Mask, truth: Mask, rng: np.random.Generator, spacing: Spacing, eye: Eye = CHECKER) -> Verdict:
    """Judge `mask` against what is really there, (z, y, x) both, with the eye's threshold and its slips."""
    box = frame(mask, truth, spacing=spacing)
    drawn, true = mask[box] > 0, truth[box] > 0
    missed, false = missed_pieces(drawn, true, spacing), excess(drawn, true, spacing)
    stray = strayed(drawn & ~false, true & ~missed, spacing)
    share = stray.sum() / max(int(true.sum()), 1)
    wrong = drawn & true & (mask[box] != truth[box])
    limit = eye.tolerance * rng.lognormal(0, 0.25)
    faults = {
        "missed_lesion": missed if rng.random() < eye.notice else None,
        "false_lesion": false if rng.random() < eye.notice else None,
        "boundary": stray if share > limit and rng.random() < eye.notice else None,
        "wrong_label": wrong if wrong.sum() > 0.1 * max(int(true.sum()), 1) else None,
    }
    found = {reason: where for reason, where in faults.items() if where is not None and where.any()}
    doubted = rng.random() < eye.doubt
    if not found and doubted and true.any():
        found = {"boundary": grown(true, spacing, 1) & ~true}
    if not found:
        return Verdict(passed=True)
    where = np.logical_or.reduce(list(found.values())).sum(axis=(1, 2))
    worst = np.argsort(where, kind="stable")[::-1][:3]
    shown = tuple(sorted(int(z) + box[0].start for z in worst if where[z]))
    size = float(sum(part.sum() for part in found.values()) * np.prod(spacing) / 1000)
    return Verdict(False, tuple(found), shown, f"about {size:.1f} ml")


def audit(mask: Mask, truth: Mask, rng: np.random.Generator, spacing: Spacing) -> Verdict:
    """Judge as a senior does: sees more, and does not quarrel about a millimetre."""
    return check(mask, truth, rng, spacing, SENIOR)


def _kind_of_fault(true: Region, rng: np.random.Generator, skill: Skill) -> str | None:
    if not true.any():
        return "false_lesion" if rng.random() < skill.invent else None
    kind = str(rng.choice(["missed_lesion", "boundary", "false_lesion"], p=skill.kinds))
    return kind if rng.random() < skill.defect else None


def _from_nothing(true: Region, kind: str | None, rng: np.random.Generator, spacing: Spacing) -> Region:
    if kind == "missed_lesion":
        return wobble(true & ~_overlooked(true, rng), rng, spacing)
    if kind == "boundary":
        return _careless(true, rng, spacing)
    drawn = wobble(true, rng, spacing)
    return drawn | _invented(true, rng, spacing) if kind == "false_lesion" else drawn


def _corrected(
    true: Region, offered: Region, kind: str | None, rng: np.random.Generator, spacing: Spacing
) -> Region:
    """Keep the slices that are right and redraw the others; a fault is what he leaves of the pre-label's own."""
    stray = strayed(offered, true, spacing).sum(axis=(1, 2))
    wrong = stray > np.maximum(2, 0.03 * true.sum(axis=(1, 2)))
    drawn = np.where(wrong[:, None, None], wobble(true, rng, spacing), offered)
    drawn = drawn & ~excess(drawn, true, spacing)
    drawn = drawn | (missed_pieces(drawn, true, spacing) & true)
    if kind == "missed_lesion":
        return drawn & ~(missed_pieces(offered, true, spacing) & _overlooked(true, rng))
    if kind == "false_lesion":
        return drawn | excess(offered, true, spacing)
    if kind == "boundary":
        left = wrong & (rng.random(len(wrong)) < 0.6)
        return np.where(left[:, None, None], offered, drawn)
    return drawn


def _overlooked(true: Region, rng: np.random.Generator) -> Region:
    """Pick the lesion that is overlooked: the smaller, the likelier."""
    pieces = pieces_of(true)
    size = np.bincount(pieces.ravel())[1:]
    weight = 1.0 / size**1.5
    return np.asarray(pieces == 1 + int(rng.choice(len(size), p=weight / weight.sum())), dtype=np.bool_)


def _careless(true: Region, rng: np.random.Generator, spacing: Spacing) -> Region:
    """Draw too wide, or beside the lesion, by two to three tolerances."""
    if rng.random() < 0.5:
        return grown(true, spacing, int(rng.integers(2, 4)))
    step = max(3, round(7.5 / spacing[1]))
    turn = rng.uniform(0, 2 * np.pi)
    shift = (0, round(step * np.sin(turn)), round(step * np.cos(turn)))
    return np.asarray(np.roll(true, shift, axis=(0, 1, 2)), dtype=np.bool_)


def _invented(true: Region, rng: np.random.Generator, spacing: Spacing) -> Region:
    """Draw a blob of about 1 to 4 ml where nothing is."""
    free = np.flatnonzero(~grown(true, spacing, 4))
    at = np.unravel_index(int(rng.choice(free)), true.shape) if len(free) else (0, 0, 0)
    away = [(np.arange(n) - middle) * step for n, middle, step in zip(true.shape, at, spacing, strict=True)]
    square = away[0][:, None, None] ** 2 + away[1][None, :, None] ** 2 + away[2][None, None, :] ** 2
    return np.asarray((square < rng.uniform(6.5, 10) ** 2) & ~grown(true, spacing, 2), dtype=np.bool_)


def _values(drawn: Region, truth: Mask) -> Mask:
    """Give every drawn voxel the nearest label value of `truth`, or 1 where there is none."""
    if not truth.any():
        return drawn.astype(np.uint8)
    labels = np.unique(truth[truth > 0])
    if len(labels) == 1:
        return np.asarray(drawn * labels[0], dtype=np.uint8)
    nearest = ndimage.distance_transform_edt(truth == 0, return_distances=False, return_indices=True)
    return np.asarray(np.where(drawn, truth[tuple(nearest)], 0), dtype=np.uint8)


def _timed(mask: Mask, before: Mask | None, rng: np.random.Generator, spacing: Spacing, pace: Pace) -> Drawn:
    changed = mask != (0 if before is None else before)
    per_slice = changed.sum(axis=(1, 2))
    touched = tuple(int(z) for z in np.flatnonzero(per_slice))
    area = float(per_slice.sum() * spacing[1] * spacing[2] / 100)
    seconds = pace.case + pace.slice_ * len(mask) + pace.outline * len(touched) + pace.area * area
    return Drawn(mask, round(seconds * float(rng.lognormal(0, pace.spread)), 1), touched)
