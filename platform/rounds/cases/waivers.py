"""Which refusals a person may set aside, and what that changes before the gate looks again.

A release never bends geometry or grey values: it lifts a limit or a header's claim, and every other test is made as
ever. What cannot be right whatever anybody says (no CT, no pixels, no geometry, no identity, slices that are missing or
sheared) is in no list here, so it can only be sent again or discarded. See docs/decisions/0009.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from rounds.imaging.gate import LIMITS, LOCALIZER_WORDS, Limits, Verdict
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.series import Series, SliceHeader, refusal_of


@dataclass(frozen=True)
class Waiver:
    """What the gate is shown once a reason is set aside."""

    limits: Callable[[Limits], Limits] = lambda limits: limits
    header: Callable[[SliceHeader], SliceHeader] = lambda one: one


def _any_count(limits: Limits) -> Limits:
    return replace(limits, min_slices=2)


def _any_thickness(limits: Limits) -> Limits:
    return replace(limits, min_thickness=0.01, max_thickness=100.0, min_step=0.02)


def _original(one: SliceHeader) -> SliceHeader:
    """Show a slice as an original image without burned-in text; class, colours and a scout's name stay."""
    scout = (word for word in one.image_type if word in LOCALIZER_WORDS)
    return replace(one, burned_in=False, reformatted=False, image_type=("ORIGINAL", "PRIMARY", *scout))


WAIVERS: Mapping[str, Waiver] = {
    Reason.TOO_FEW_SLICES: Waiver(limits=_any_count),
    Reason.THICKNESS_OUT_OF_RANGE: Waiver(limits=_any_thickness),
    Reason.SECONDARY_CAPTURE: Waiver(header=_original),
    Reason.DERIVED_REFORMAT: Waiver(header=_original),
    Reason.SHORT_RANGE: Waiver(),  # intake itself asks what was released
    Reason.NOT_A_CHEST: Waiver(),  # likewise
    Reason.BURNED_IN_TEXT: Waiver(),  # likewise
    Reason.MORE_SLICES_THAN_BEFORE: Waiver(),  # intake itself replaces the case
}


ASIDE = frozenset(
    {
        Reason.NOT_CT,
        Reason.LOCALIZER,
        Reason.SECONDARY_CAPTURE,
        Reason.MULTIFRAME,
        Reason.NOT_AXIAL,
        Reason.DERIVED_REFORMAT,
    }
)
"""Reasons for which the gate leaves single files out of a series that stands without them."""


IMPLIED = {
    Reason.SHORT_RANGE: {Reason.SHORT_RANGE, Reason.TOO_FEW_SLICES},
    Reason.NOT_A_CHEST: {Reason.NOT_A_CHEST, Reason.SHORT_RANGE, Reason.TOO_FEW_SLICES},
}
"""What a look at the volume may find, and the reasons whose release says that somebody knows it already."""


def waived(reason: Reason, over: Collection[str]) -> bool:
    """Tell whether a fault of the volume was set aside by a release over these reasons."""
    return not IMPLIED.get(reason, {reason}).isdisjoint(over)


def releasable(reason: str) -> bool:
    """Tell whether a person may set this reason aside."""
    return reason in WAIVERS


def waive(series: Series, reasons: Collection[str], limits: Limits = LIMITS) -> tuple[Series, Limits]:
    """Return the series and the limits as the gate shall see them with these reasons set aside."""
    slices = series.slices
    for reason in sorted(reasons):
        waiver = WAIVERS.get(reason, Waiver())
        limits = waiver.limits(limits)
        slices = tuple(waiver.header(one) for one in slices)
    return replace(series, slices=slices), limits


def delivered(series: Series, verdict: Verdict) -> int:
    """Count the slices of a series: one that came twice is one, and screens and scouts do not count."""
    return len({one.identity for one in _images(series, verdict)})


def more_than_before(series: Series, verdict: Verdict, before: int) -> Refusal | None:
    """Return a refusal if a series that is a case already has more slices now than it had then; None if not."""
    now = delivered(series, verdict)
    if now <= before:
        return None
    detail = f"{now} slices now, {before} when it became a case"
    return refusal_of(Reason.MORE_SLICES_THAN_BEFORE, detail, _images(series, verdict))


def _images(series: Series, verdict: Verdict) -> list[SliceHeader]:
    aside = {place for one in verdict.refusals if one.code in ASIDE for place in one.places}
    return [one for one in series.slices if one.place not in aside]


def by_code(refusals: Sequence[Refusal]) -> list[Refusal]:
    """Join the refusals of one series that have the same code."""
    codes = list(dict.fromkeys(one.code for one in refusals))
    same = [[one for one in refusals if one.code == code] for code in codes]
    return [
        Refusal(
            parts[0].code,
            "; ".join(part.detail for part in parts if part.detail),
            tuple(dict.fromkeys(path for part in parts for path in part.files)),
            tuple(dict.fromkeys(place for part in parts for place in part.places)),
        )
        for parts in same
    ]


def facts(slices: Collection[SliceHeader]) -> dict[str, str]:
    """Describe refused files in numbers alone: nothing that a header says in words."""
    found = {
        "pixels": {f"{one.columns} × {one.rows}" for one in slices if one.rows and one.columns},
        "pixel spacing, mm": {
            " × ".join(f"{side:.3g}" for side in one.pixel_spacing) for one in slices if one.pixel_spacing
        },
        "slice thickness, mm": {f"{one.thickness:.3g}" for one in slices if one.thickness is not None},
    }
    told = {
        name: ", ".join(sorted(values)[:3]) + (", …" if len(values) > 3 else "")
        for name, values in found.items()
        if values
    }
    heights = [one.position[2] for one in slices if len(one.position) == 3]
    if heights:
        told["length along the body, mm"] = f"{max(heights) - min(heights):.1f}"
    return told
