"""The five hospitals and eleven scanners of paper A, and how each scanner renders and writes a chest CT."""

from dataclasses import dataclass
from typing import Literal

Vendor = Literal["GE", "Siemens", "Philips", "UIH"]
Syntax = Literal["explicit", "implicit", "rle", "jpeg_lossless"]


@dataclass(frozen=True)
class Hospital:
    """One hospital: names as its scanners write them, the site name to ingest under, postal address."""

    key: str
    name: str
    address: str
    department: str


@dataclass(frozen=True)
class Protocol:
    """One chest reconstruction: slice distance and thickness in mm, kernel, how sharp (-1 to 1), noise in HU."""

    step: float
    thickness: float
    kernel: str
    sharp: float
    noise: float
    share: float


@dataclass(frozen=True)
class Scanner:
    """One scanner model: what it writes and how; `offset` is its calibration in HU."""

    key: str
    vendor: Vendor
    manufacturer: str
    model: str
    software: str
    syntax: Syntax
    offset: float
    protocols: tuple[Protocol, ...]


@dataclass(frozen=True)
class Share:
    """How many positive and negative cases a hospital's scanner contributed."""

    hospital: str
    scanner: str
    positive: int
    negative: int


HOSPITALS = {
    one.key: one
    for one in (
        Hospital("tsinghua", "Beijing Tsinghua Changgung Hospital", "168 Litang Road, Beijing", "Radiology"),
        Hospital("no7", "Wuhan No. 7 Hospital", "6 Zhongnan 2nd Road, Wuhan", "CT Room 1"),
        Hospital("zhongnan", "Zhongnan Hospital of Wuhan University", "169 Donghu Road, Wuhan", "Imaging"),
        Hospital("tianyou", "Tianyou Hospital", "9 Tujialing, Wuhan", "Radiology"),
        Hospital("leishenshan", "Wuhan Leishenshan Hospital", "Huangjiahu Road, Wuhan", "Field CT 2"),
    )
}


def _ge(key: str, model: str, software: str, syntax: Syntax = "explicit", offset: float = 0.0) -> Scanner:
    thin = Protocol(1.25, 1.25, "LUNG", 0.7, 30, 0.55)
    fine = Protocol(0.625, 0.625, "STANDARD", 0.0, 30, 0.05)
    thick = Protocol(5.0, 5.0, "STANDARD", 0.0, 13, 0.16)
    return Scanner(
        key,
        "GE",
        "GE MEDICAL SYSTEMS",
        model,
        software,
        syntax,
        offset,
        (thin, fine, Protocol(1.25, 1.25, "STANDARD", 0.0, 22, 0.24), thick),
    )


def _siemens(key: str, model: str, kernel: str, sharp: str, syntax: Syntax) -> Scanner:
    return Scanner(
        key,
        "Siemens",
        "SIEMENS",
        model,
        "syngo CT 2012B",
        syntax,
        2.0,
        (
            Protocol(1.0, 1.0, sharp, 0.8, 32, 0.4),
            Protocol(1.5, 1.5, kernel, -0.3, 20, 0.4),
            Protocol(5.0, 5.0, kernel, -0.3, 11, 0.2),
        ),
    )


def _philips(key: str, model: str, software: str, syntax: Syntax) -> Scanner:
    return Scanner(
        key,
        "Philips",
        "Philips",
        model,
        software,
        syntax,
        -3.0,
        (
            Protocol(1.0, 1.0, "YA", 0.5, 27, 0.3),
            Protocol(1.5, 1.5, "B", -0.2, 20, 0.5),
            Protocol(2.0, 2.0, "B", -0.2, 17, 0.2),
        ),
    )


def _uih(key: str, model: str, software: str, syntax: Syntax) -> Scanner:
    return Scanner(
        key,
        "UIH",
        "UIH",
        model,
        software,
        syntax,
        3.0,
        (
            Protocol(1.5, 1.5, "B_SHARP_C", 0.6, 27, 0.45),
            Protocol(1.0, 1.0, "B_SOFT_B", -0.2, 22, 0.35),
            Protocol(5.0, 5.0, "B_SOFT_B", -0.2, 11, 0.2),
        ),
    )


SCANNERS = {
    one.key: one
    for one in (
        _uih("uct760", "uCT 760", "R004", "explicit"),
        _uih("uct530", "uCT 530", "R002", "explicit"),
        _ge("ct660", "Optima CT660", "sles_hde.277"),
        _ge("ct750hd", "Discovery CT750 HD", "gmp_hde.180", "rle", 2.0),
        _ge("discovery", "Discovery CT", "18HW12.8", "explicit", -4.0),
        _ge("brightspeed", "BrightSpeed", "07MW18.4", "implicit", 5.0),
        _siemens("definition", "SOMATOM Definition", "B31f", "B70f", "jpeg_lossless"),
        _siemens("open", "Sensation Open", "B41f", "B60s", "implicit"),
        _philips("ict256", "iCT 256", "4.1.6", "explicit"),
        _philips("ingenuity", "Ingenuity CT", "4.1.7.10020", "jpeg_lossless"),
        _philips("bigbore", "Brilliance Big Bore", "3.6.6", "implicit"),
    )
}

SHARES = (
    Share("tsinghua", "discovery", 3, 0),
    Share("tsinghua", "open", 2, 0),
    Share("tsinghua", "ict256", 0, 228),
    Share("tsinghua", "ct750hd", 0, 54),
    Share("tsinghua", "bigbore", 0, 2),
    Share("no7", "uct530", 188, 0),
    Share("no7", "uct760", 0, 79),
    Share("no7", "ct750hd", 0, 32),
    Share("no7", "ct660", 0, 27),
    Share("no7", "brightspeed", 0, 3),
    Share("zhongnan", "uct760", 13, 116),
    Share("zhongnan", "discovery", 89, 0),
    Share("zhongnan", "definition", 22, 0),
    Share("zhongnan", "ingenuity", 17, 0),
    Share("tianyou", "ct660", 378, 0),
    Share("leishenshan", "uct530", 65, 0),
    Share("leishenshan", "discovery", 100, 0),
)
"""Cases by hospital and scanner. The sums over each hospital and each scanner are paper A's (Wang et al., Applied Soft
Computing 2020, cohort tables); which scanner stood where is not printed: this is one assignment that fits both."""
