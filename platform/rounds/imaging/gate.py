"""The geometry gate: what is an axial CT volume, and, for everything else, a coded reason."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rounds.imaging.compression import lost
from rounds.imaging.dicom import ENHANCED_CLASSES
from rounds.imaging.grid import Grid
from rounds.imaging.parting import MAX_VOLUMES, by_acquisition, by_geometry, differences
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.series import Series, SliceHeader, refusal_of
from rounds.imaging.tilt import Tilt, upright

CT_CLASSES = {"1.2.840.10008.5.1.4.1.1.2", *ENHANCED_CLASSES}
SCREEN_CLASSES = "1.2.840.10008.5.1.4.1.1.7"
LOCALIZER_WORDS = {"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SURVIEW", "SCANOGRAM", "CT_SOM5 TOP"}
REFORMAT_WORDS = {
    "REFORMATTED",
    "MPR",
    "AXIAL",
    "AVERAGE",
    "MIP",
    "MIN_IP",
    "MINIP",
    "PROJECTION IMAGE",
    "CSA MPR",
}
HU_UNITS = {"", "HU", "HU_MOD", "US"}
"""RescaleType (PS3.3 C.11.1.1.2), "US" being unspecified; maps of iodine, density or atomic number have others."""

SCREEN_WORDS = {"DOSE_INFO", "PATIENT_INFO", "RESULTS", "SCREEN SAVE", "CSA REPORT", "PROTOCOL"}


@dataclass(frozen=True)
class Limits:
    """What counts as a volume; lengths in mm, angles in degrees.

    A step between neighbours may differ from the median by `step_mm` or by `step_share` of it, whichever is
    more: scanners round ImagePositionPatient, often to 0.1 mm. Steps under `duplicate_share` are one position.
    Volumes in one series each cover `shared_height` of what all cover, or else they are parts of one. Gantries tilt
    up to 30 degrees. A ratio of 10:1 is the least that national guidance on chest CT allows with loss.
    """

    min_slices: int = 12
    max_slices: int = 4000
    min_size: int = 16
    max_size: int = 2048
    max_voxels: int = 600_000_000
    min_thickness: float = 0.5
    max_thickness: float = 10.0
    min_step: float = 0.2
    step_mm: float = 0.1
    step_share: float = 0.05
    duplicate_share: float = 0.1
    axial_degrees: float = 30.0
    shear_degrees: float = 0.1
    max_tilt_degrees: float = 30.5
    sideways_mm: float = 0.5
    shared_height: float = 0.8
    max_lossy_ratio: float = 10.0


LIMITS = Limits()


@dataclass(frozen=True)
class Stack:
    """Slices of one volume, sorted from the most inferior to the most superior, and the grid that they span."""

    slices: tuple[SliceHeader, ...]
    grid: Grid = field(repr=False)
    tilt: Tilt | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the slices, in the order of the slices; one may hold several."""
        return tuple(dict.fromkeys(one.path for one in self.slices))

    @property
    def corrections(self) -> tuple[str, ...]:
        """Say what is done to the slices besides decoding, in words for the records."""
        return (self.tilt.told,) if self.tilt is not None else ()


@dataclass(frozen=True)
class Verdict:
    """The volumes of a series, the one with most slices first, and why its other files, or all, are refused."""

    stacks: tuple[Stack, ...]
    refusals: tuple[Refusal, ...]


def examine(series: Series, limits: Limits = LIMITS) -> Verdict:
    """Judge a series: screens and localizers are set aside file by file, the rest stands or falls together.

    A series that holds several whole volumes (two reconstructions, two phases) gives several stacks.
    """
    refusals: list[Refusal] = []
    images: list[SliceHeader] = []
    aside: dict[tuple[Reason, str], list[SliceHeader]] = {}
    for one in series.slices:
        fault = _fault_of_file(one, limits)
        if fault is None:
            images.append(one)
        else:
            aside.setdefault(fault, []).append(one)
    for (code, detail), files in aside.items():
        refusals.append(refusal_of(code, _count(files, detail), files))
    broken = {Reason.MISSING_GEOMETRY, Reason.MISSING_RESCALE, Reason.LOSSY_COMPRESSION} & {
        code for code, _ in aside
    }
    if not images or broken:
        return Verdict((), tuple(refusals))
    unclear = _unclear_identity(series.uid, images)
    if unclear is not None:
        return Verdict((), (*refusals, unclear))
    stacks, faults = _volumes(_without_copies(images), limits)
    return Verdict(stacks, (*refusals, *faults))


def _fault_of_file(one: SliceHeader, limits: Limits) -> tuple[Reason, str] | None:
    """Name what keeps a single file from being a slice of a volume."""
    words = set(one.image_type[2:])
    if one.modality != "CT" and not one.sop_class.startswith(SCREEN_CLASSES):
        return Reason.NOT_CT, ""
    if one.burned_in:
        return Reason.SECONDARY_CAPTURE, "text is burned into the pixels"
    if one.sop_class.startswith(SCREEN_CLASSES) or words & SCREEN_WORDS or (one.samples_per_pixel or 1) != 1:
        return Reason.SECONDARY_CAPTURE, "a screen"
    if one.sop_class and one.sop_class not in CT_CLASSES:
        return Reason.NOT_CT, "the modality says CT, the class of the object does not"
    if one.frames > 1:
        return Reason.MULTIFRAME, ""
    if set(one.image_type) & LOCALIZER_WORDS:
        return Reason.LOCALIZER, ""
    derived = one.image_type[:2] == ("DERIVED", "SECONDARY")
    if derived and not words & REFORMAT_WORDS:
        return Reason.SECONDARY_CAPTURE, "a derived secondary image"
    lacking = _lacking_geometry(one, limits)
    if lacking:
        return Reason.MISSING_GEOMETRY, lacking
    angle = _degrees(_normal(one), np.array([0.0, 0.0, 1.0]))
    if min(angle, 180 - angle) > limits.axial_degrees:
        return Reason.NOT_AXIAL, ""
    if derived or one.reformatted:
        return Reason.DERIVED_REFORMAT, ""
    if one.slope is None or one.intercept is None or one.slope == 0:
        return Reason.MISSING_RESCALE, ""
    if one.unit not in HU_UNITS:
        return Reason.MISSING_RESCALE, "the grey values are no Hounsfield units"
    loss = lost(one, limits.max_lossy_ratio)
    return (Reason.LOSSY_COMPRESSION, loss) if loss else None


def _lacking_geometry(one: SliceHeader, limits: Limits) -> str:
    """Name the first attribute that is absent or impossible, or return an empty text."""
    for name, count in (("rows", one.rows), ("columns", one.columns)):
        if count is None or not limits.min_size <= count <= limits.max_size:
            return f"{name} absent or outside {limits.min_size} to {limits.max_size}"
    if len(one.pixel_spacing) != 2 or not all(0.05 <= step <= 10 for step in one.pixel_spacing):
        return "pixel spacing absent or outside 0.05 to 10 mm"
    if len(one.position) != 3 or max(abs(value) for value in one.position) > 1e5:
        return "image position absent or impossible"
    if len(one.orientation) != 6:
        return "image orientation absent"
    axes = np.array(one.orientation).reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-3:
        return "image orientation is not two perpendicular unit vectors"
    return ""


def _unclear_identity(uid: str, images: list[SliceHeader]) -> Refusal | None:
    if not uid:
        return refusal_of(Reason.UNCLEAR_IDENTITY, "no series UID", images)
    owners = {(one.patient_id, one.study_uid) for one in images}
    if len(owners) > 1:
        return refusal_of(
            Reason.UNCLEAR_IDENTITY, f"one series names {len(owners)} patients or studies", images
        )
    return None


def _without_copies(images: list[SliceHeader]) -> list[SliceHeader]:
    """Keep one of the files that hold the same instance at the same position: a slice that was sent twice."""
    unique: dict[object, SliceHeader] = {}
    for one in images:
        unique.setdefault(one.identity, one)
    return list(unique.values())


def _volumes(images: list[SliceHeader], limits: Limits) -> tuple[tuple[Stack, ...], list[Refusal]]:
    """Make one stack of the slices, or several where the series is several whole volumes."""
    groups = by_geometry(images)
    if len(groups) > 1:
        if stacks := _whole(groups, limits):
            return stacks, []
        return (), [refusal_of(Reason.MIXED_GEOMETRY, f"{', '.join(differences(images))} differ", images)]
    stack, faults = _stack(images, limits)
    if stack is not None:
        return (stack,), []
    return _phases(images, faults, limits), faults


def _whole(groups: list[list[SliceHeader]], limits: Limits) -> tuple[Stack, ...]:
    """Return the stacks of groups that are whole volumes each, or nothing if any of them is not."""
    if len(groups) > MAX_VOLUMES:
        return ()
    stacks: list[Stack] = []
    for group in groups:
        stack, faults = _stack(group, limits)
        parts = (stack,) if stack is not None else _phases(group, faults, limits)
        if not parts:
            return ()
        stacks += parts
    stacks.sort(key=lambda one: -len(one.slices))
    return tuple(stacks) if _side_by_side(stacks, limits) else ()


def _phases(images: list[SliceHeader], faults: list[Refusal], limits: Limits) -> tuple[Stack, ...]:
    """Part slices that repeat positions into whole volumes by what tells them apart, or return nothing.

    Take the repeats out of `faults` on success.
    """
    if not any(fault.code is Reason.DUPLICATE_POSITION for fault in faults):
        return ()
    for groups in by_acquisition(images):
        found = [_stack(group, limits)[0] for group in groups]
        stacks = sorted((one for one in found if one is not None), key=lambda one: -len(one.slices))
        if len(stacks) == len(groups) and _side_by_side(stacks, limits):
            faults.clear()
            return tuple(stacks)
    return ()


def _side_by_side(stacks: list[Stack], limits: Limits) -> bool:
    """Tell several volumes of one region from the parts of one volume, by the heights that they cover."""
    spans = [(one.slices[0].position[2], one.slices[-1].position[2]) for one in stacks]
    lengths = [top - bottom for bottom, top in spans]
    if min(lengths) < limits.shared_height * max(lengths):
        return False
    if len({one.slices[0].frame_of_reference for one in stacks}) > 1:
        return True
    together = max(top for _, top in spans) - min(bottom for bottom, _ in spans)
    return min(lengths) >= limits.shared_height * together


def _stack(images: list[SliceHeader], limits: Limits) -> tuple[Stack | None, list[Refusal]]:
    """Sort the slices along their normal and check that they form one evenly spaced volume."""
    up = _normal(images[0])
    up = up if up[2] > 0 else -up
    points = np.array([one.position for one in images])
    order = np.argsort(points @ up, kind="stable")
    slices = [images[index] for index in order]
    points = points[order]
    heights = points @ up
    faults = _position_faults(slices, heights, limits)
    tilt, sideways = _sideways(slices, points, heights, up, limits)
    faults += sideways + _thickness_faults(slices, heights, limits)
    if len(slices) < max(2, limits.min_slices):
        detail = f"{_plural(len(slices), 'slice')}, at least {limits.min_slices} needed"
        faults.append(refusal_of(Reason.TOO_FEW_SLICES, detail, slices))
    if faults:
        return None, faults
    step = round(float((heights[-1] - heights[0]) / (len(slices) - 1)), 6)
    grid = _grid(slices[0], len(slices), step, up)
    grid = grid if tilt is None else upright(grid, tilt)
    too_wide = max(grid.shape[1:]) > 2 * limits.max_size
    if too_wide or len(images) > limits.max_slices or math.prod(grid.shape) > limits.max_voxels:
        detail = f"{_plural(len(images), 'slice')} are more than one scan has"
        return None, [refusal_of(Reason.MIXED_GEOMETRY, detail, images)]
    return Stack(tuple(slices), grid, tilt), []


def _position_faults(
    slices: list[SliceHeader], heights: npt.NDArray[np.float64], limits: Limits
) -> list[Refusal]:
    """Check repeated positions and gaps of slices that are sorted by height (mm along the normal)."""
    faults: list[Refusal] = []
    steps = np.diff(heights)
    distinct = steps[steps > 0.01]
    median = float(np.median(distinct)) if len(distinct) else 0.0
    same = np.flatnonzero(steps <= max(0.01, limits.duplicate_share * median))
    if len(same):
        repeated = sorted({*same.tolist(), *(same + 1).tolist()})
        detail = f"{len(same)} of {len(slices)} slices repeat a position"
        faults.append(refusal_of(Reason.DUPLICATE_POSITION, detail, [slices[index] for index in repeated]))
    allowed = max(limits.step_mm, limits.step_share * median)
    kept = np.delete(heights, same + 1)
    gaps = np.diff(kept)
    uneven = np.abs(gaps - median) > allowed
    even = np.linspace(kept[0], kept[-1], len(kept))
    if uneven.any():
        worst = float(gaps[np.argmax(np.abs(gaps - median))])
        detail = f"a step of {worst:.2f} mm where {median:.2f} mm is usual, {int(uneven.sum())} uneven of {len(gaps)}"
        faults.append(refusal_of(Reason.MISSING_SLICE, detail, slices))
    elif float(np.abs(kept - even).max()) > median / 2:
        faults.append(refusal_of(Reason.MISSING_SLICE, f"the step drifts around {median:.2f} mm", slices))
    return faults


def _sideways(
    slices: list[SliceHeader],
    points: npt.NDArray[np.float64],
    heights: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    limits: Limits,
) -> tuple[Tilt | None, list[Refusal]]:
    """Tell a steady drift of the slices across their normal (a tilted gantry) from single shifted slices."""
    rise = heights - heights[0]
    offsets = points - points[0] - np.outer(rise, up)
    drift = rise @ offsets / max(float(rise @ rise), 1e-9)
    if float(np.linalg.norm(offsets - np.outer(rise, drift), axis=1).max()) > limits.sideways_mm:
        return None, [refusal_of(Reason.MIXED_GEOMETRY, "slices are shifted sideways", slices)]
    degrees = float(np.degrees(np.arctan(np.linalg.norm(drift))))
    if degrees > limits.max_tilt_degrees:
        return None, [refusal_of(Reason.GANTRY_TILT, f"{degrees:.1f} degrees", slices)]
    if degrees <= limits.shear_degrees:
        return None, []
    along_x, along_y = np.array(slices[0].orientation).reshape(2, 3)
    return Tilt(degrees, float(drift @ along_x), float(drift @ along_y)), []


def _thickness_faults(
    slices: list[SliceHeader], heights: npt.NDArray[np.float64], limits: Limits
) -> list[Refusal]:
    thicknesses = {one.thickness for one in slices if one.thickness is not None}
    outside = [mm for mm in thicknesses if not limits.min_thickness <= mm <= limits.max_thickness + 1e-3]
    steps = np.diff(heights)
    steps = steps[steps > 0.01]
    step = float(np.median(steps)) if len(steps) else None
    details = [f"thickness {outside[0]:.2f} mm"] if outside else []
    if step is not None and not limits.min_step <= step <= limits.max_thickness + limits.step_mm:
        details.append(f"spacing {step:.2f} mm")
    if not details:
        return []
    allowed = f"{limits.min_thickness} to {limits.max_thickness} mm allowed"
    return [refusal_of(Reason.THICKNESS_OUT_OF_RANGE, f"{', '.join(details)}; {allowed}", slices)]


def _grid(lowest: SliceHeader, count: int, step: float, up: npt.NDArray[np.float64]) -> Grid:
    """Build the grid of a stack from its lowest slice (DICOM is LPS: x and y change sign in RAS)."""
    along_x, along_y = np.array(lowest.orientation).reshape(2, 3)
    row_step, column_step = lowest.pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = along_x * column_step
    affine[:3, 1] = along_y * row_step
    affine[:3, 2] = up * step
    affine[:3, 3] = lowest.position
    affine[:2] *= -1
    affine += 0.0
    return Grid((count, lowest.rows or 0, lowest.columns or 0), (step, row_step, column_step), affine)


def _normal(one: SliceHeader) -> npt.NDArray[np.float64]:
    along_x, along_y = np.array(one.orientation).reshape(2, 3)
    normal = np.cross(along_x, along_y)
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def _degrees(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1.0, 1.0))))


def _count(slices: list[SliceHeader], detail: str) -> str:
    frames = sum(one.frame is not None for one in slices)
    counted = _plural(len({one.path for one in slices}), "file")
    counted = f"{_plural(frames, 'frame')} of {counted}" if frames else counted
    return f"{detail}, {counted}" if detail else counted


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
