"""Why a scan was refused: a closed list of reasons, each with a sentence that a technician understands."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """The closed list of reason codes of the geometry gate."""

    NOT_CT = "not_ct"
    LOCALIZER = "localizer"
    SECONDARY_CAPTURE = "secondary_capture"
    DERIVED_REFORMAT = "derived_reformat"
    MULTIFRAME = "multiframe"
    NOT_AXIAL = "not_axial"
    GANTRY_TILT = "gantry_tilt"
    TOO_FEW_SLICES = "too_few_slices"
    MISSING_SLICE = "missing_slice"
    DUPLICATE_POSITION = "duplicate_position"
    MIXED_GEOMETRY = "mixed_geometry"
    MISSING_RESCALE = "missing_rescale"
    MISSING_GEOMETRY = "missing_geometry"
    THICKNESS_OUT_OF_RANGE = "thickness_out_of_range"
    SHORT_RANGE = "short_range"
    NOT_A_CHEST = "not_a_chest"
    LOSSY_COMPRESSION = "lossy_compression"
    UNSAFE_ARCHIVE = "unsafe_archive"
    MORE_SLICES_THAN_BEFORE = "more_slices_than_before"
    UNCLEAR_IDENTITY = "unclear_identity"
    UNDECODABLE = "undecodable"
    BURNED_IN_TEXT = "burned_in_text"
    RESIDUAL_IDENTITY = "residual_identity"

    @property
    def sentence(self) -> str:
        """Say in one sentence what is wrong and what to do about it."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.NOT_CT: "These files are not CT images: send the CT series of the study.",
    Reason.LOCALIZER: "This is a localizer (scout, topogram), not a volume: send the axial series.",
    Reason.SECONDARY_CAPTURE: (
        "This is a screen (dose report, patient information, screenshot) or has text burned in: leave it out."
    ),
    Reason.DERIVED_REFORMAT: "These images were computed from another series: send the original reconstruction.",
    Reason.MULTIFRAME: "Several frames in a file of the classic CT class are not read: send it as single slices.",
    Reason.NOT_AXIAL: "The slices are not axial: send the axial reconstruction.",
    Reason.GANTRY_TILT: "The gantry was tilted too far to straighten the slices: send a reconstruction without tilt.",
    Reason.TOO_FEW_SLICES: "There are too few slices for a chest: check that the whole series was sent.",
    Reason.MISSING_SLICE: "The slices are not evenly spaced, so some are missing: send the series again, complete.",
    Reason.DUPLICATE_POSITION: "Several slices lie at the same position: send one reconstruction per series.",
    Reason.MIXED_GEOMETRY: "The slices form no volume, nor several whole ones: send one reconstruction per series.",
    Reason.MISSING_RESCALE: "Rescale slope or intercept is missing, so grey values cannot become HU: export again.",
    Reason.MISSING_GEOMETRY: "Size, pixel spacing, orientation or position is missing or impossible: export again.",
    Reason.THICKNESS_OUT_OF_RANGE: "The slice thickness or spacing is outside what a chest CT has.",
    Reason.SHORT_RANGE: "The slices cover too little height for a chest: check that the whole series was sent.",
    Reason.NOT_A_CHEST: "No lungs are seen, or only a small part of them: send the series of the chest.",
    Reason.LOSSY_COMPRESSION: "The images were compressed with loss, too strongly: send them uncompressed or lossless.",
    Reason.UNSAFE_ARCHIVE: "This archive cannot be unpacked safely: send the files themselves, or a plain zip of them.",
    Reason.MORE_SLICES_THAN_BEFORE: (
        "This series is a case already and has more slices now: release it to replace that case, or discard it."
    ),
    Reason.UNCLEAR_IDENTITY: "The files do not say which one series of which one patient they are: export again.",
    Reason.UNDECODABLE: "The files are damaged or compressed in a way that cannot be read: export again.",
    Reason.BURNED_IN_TEXT: (
        "There is text in the pixels: look at the slice in the archive, release the scan if nobody is named, or send a "
        "reconstruction without text."
    ),
    Reason.RESIDUAL_IDENTITY: (
        "Something of the patient's identity may be left after de-identification: look at the named fields at the "
        "scanner's archive, correct them there, and send the series again."
    ),
}


@dataclass(frozen=True)
class Refusal:
    """One reason why files were refused; `detail` holds numbers only, never patient data, UIDs or paths.

    `places` are the refused slices, each with its frame where its file has several.
    """

    code: Reason
    detail: str
    files: tuple[Path, ...] = field(repr=False)
    places: tuple[tuple[Path, int | None], ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        """How many slices were refused, or files where that is all that is known."""
        return max(len(self.places), len(self.files))

    @property
    def sentence(self) -> str:
        """Say what is wrong and what to do, with the detail."""
        return f"{self.code.sentence} ({self.detail})" if self.detail else self.code.sentence
