"""Who is scanned in the demo, where and how: cohorts of synthetic patients drawn by paper A's shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from rounds.demo.fields import Shape, Triple
from rounds.demo.phantoms import Diagnosis, Style
from rounds.demo.scanners import HOSPITALS, SCANNERS, SHARES, Hospital, Protocol, Scanner, Share

MIX: dict[Diagnosis, float] = {"covid": 0.45, "other": 0.35, "healthy": 0.20}
SIZE = 128  # pixels an edge

_SURNAMES = (
    ("Wang", "王"),
    ("Li", "李"),
    ("Zhang", "张"),
    ("Liu", "刘"),
    ("Chen", "陈"),
    ("Yang", "杨"),
    ("Zhao", "赵"),
    ("Huang", "黄"),
    ("Zhou", "周"),
    ("Wu", "吴"),
    ("Xu", "徐"),
    ("Sun", "孙"),
)
_GIVEN = (
    ("Xiaoming", "晓明"),
    ("Guiying", "桂英"),
    ("Jianguo", "建国"),
    ("Xiuzhen", "秀珍"),
    ("Haitao", "海涛"),
    ("Meiling", "美玲"),
    ("Zhiqiang", "志强"),
    ("Yulan", "玉兰"),
    ("Wenbo", "文博"),
    ("Lijuan", "丽娟"),
    ("Shaohua", "少华"),
    ("Fengqin", "凤琴"),
)
_CLINICAL = ("mild", "moderate", "severe", "critical")


@dataclass(frozen=True)
class Patient:
    """A synthetic patient as a hospital knows him; nobody real."""

    patient_id: str
    name: str
    name_ideographic: str
    born: date
    sex: str
    age: int
    phone: str
    address: str


@dataclass(frozen=True)
class PlannedScan:
    """One scan to make: who, where, on what, and the seed of its phantom. Lengths in mm, (z, y, x)."""

    number: int
    patient: Patient
    hospital: Hospital
    scanner: Scanner
    protocol: Protocol
    diagnosis: Diagnosis
    clinical_type: str
    accession: str
    taken: datetime
    nat_date: date | None
    physician: str
    spacing: Triple
    shape: Shape
    style: Style
    seed: int
    localizer: bool
    missing_slice: bool


def draw_cohort(n: int, seed: int, faulty: int = 1) -> tuple[PlannedScan, ...]:
    """Draw `n` good scans and `faulty` more that lack a slice, which ingest must quarantine.

    Every stretch of the cohort holds about 45 % COVID, 35 % other and 20 % healthy, and scanners by the square
    root of the paper's counts, so that a small cohort still meets nearly all of them.
    """
    rng = np.random.default_rng([seed, 877])
    diagnoses = _interleaved(n, rng)
    places: list[Share] = [SHARES[0]] * n
    for positive in (True, False):
        who = [i for i, diagnosis in enumerate(diagnoses) if (diagnosis == "covid") is positive]
        for i, place in zip(who, _places(len(who), positive, rng), strict=True):
            places[i] = place
    planned = [_plan(i, diagnoses[i], places[i], rng, seed, missing=False) for i in range(n)]
    planned += [
        _plan(n + i, "other", _places(1, False, rng)[0], rng, seed, missing=True) for i in range(faulty)
    ]
    return tuple(planned)


def _interleaved(n: int, rng: np.random.Generator) -> list[Diagnosis]:
    """Mix the diagnoses so that any run of the list has them in their shares."""
    counts = {diagnosis: round(n * share) for diagnosis, share in MIX.items()}
    counts["covid"] += n - sum(counts.values())
    placed = [
        ((i + rng.uniform(0.1, 0.9)) / count, diagnosis)
        for diagnosis, count in counts.items()
        for i in range(count)
    ]
    return [diagnosis for _, diagnosis in sorted(placed)]


def _places(n: int, positive: bool, rng: np.random.Generator) -> list[Share]:
    """Draw hospital and scanner systematically, so that the shares come out even in a small draw."""
    allowed = [share for share in SHARES if (share.positive if positive else share.negative) > 0]
    weights = np.sqrt([share.positive if positive else share.negative for share in allowed])
    edges = np.cumsum(weights) / weights.sum()
    at = (np.arange(n) + rng.uniform()) / max(n, 1)
    drawn = [allowed[min(int(np.searchsorted(edges, a, side="right")), len(allowed) - 1)] for a in at]
    return [drawn[int(i)] for i in rng.permutation(n)]


def _plan(
    number: int, diagnosis: Diagnosis, place: Share, rng: np.random.Generator, seed: int, *, missing: bool
) -> PlannedScan:
    scanner, hospital = SCANNERS[place.scanner], HOSPITALS[place.hospital]
    shares = np.array([protocol.share for protocol in scanner.protocols])
    protocol = scanner.protocols[int(rng.choice(len(shares), p=shares / shares.sum()))]
    taken = datetime(2020, 1, 6, 7) + timedelta(minutes=int(rng.integers(0, 54 * 24 * 60)))
    pixel = round(float(rng.choice([2.4, 2.5, 2.6, 2.7, 2.8])), 3)
    height = rng.uniform(112, 132) if protocol.step < 1 else rng.uniform(118, 150)
    slices = int(np.clip(height / protocol.step, 28, 176)) if protocol.step < 5 else int(rng.integers(34, 42))
    days = int(rng.integers(0, 4))
    return PlannedScan(
        number=number,
        patient=_patient(number, place, taken, diagnosis, rng),
        hospital=hospital,
        scanner=scanner,
        protocol=protocol,
        diagnosis=diagnosis,
        clinical_type=str(rng.choice(_CLINICAL, p=(0.1, 0.6, 0.22, 0.08))) if diagnosis == "covid" else "",
        accession=f"CT{taken:%y%m%d}{int(rng.integers(1000, 9999))}",
        taken=taken,
        nat_date=(taken + timedelta(days=days)).date() if diagnosis == "covid" else None,
        physician="^".join(_name(rng)[0]),
        spacing=(protocol.step, pixel, pixel),
        shape=(slices, SIZE, SIZE),
        style=Style(protocol.noise * float(rng.lognormal(0, 0.25)), protocol.sharp, scanner.offset),
        seed=seed * 100_003 + number,
        localizer=bool(rng.random() < 0.3),
        missing_slice=missing,
    )


def _patient(
    number: int, place: Share, taken: datetime, diagnosis: Diagnosis, rng: np.random.Generator
) -> Patient:
    roman, written = _name(rng)
    age = int(np.clip(rng.normal(51 if diagnosis == "covid" else 55, 15), 19, 88))
    born = taken.date() - timedelta(days=int(age * 365.25 + rng.integers(3, 360)))
    return Patient(
        patient_id=f"{place.hospital[:2].upper()}{number:03d}{int(rng.integers(10**6, 10**7))}",
        name="^".join(roman),
        name_ideographic="^".join(written),
        born=born,
        sex=str(rng.choice(["F", "M"])),
        age=age,
        phone=f"13{int(rng.integers(10**8, 10**9))}",
        address=f"{int(rng.integers(1, 900))} Jiefang Avenue, Wuhan",
    )


def _name(rng: np.random.Generator) -> tuple[tuple[str, str], tuple[str, str]]:
    surname, given = _SURNAMES[int(rng.integers(len(_SURNAMES)))], _GIVEN[int(rng.integers(len(_GIVEN)))]
    return (surname[0], given[0]), (surname[1], given[1])


def manifest_csv(planned: Sequence[PlannedScan]) -> str:
    """Write what is known of each patient: patient_id, diagnosis, clinical_type, age, sex, nat_date."""
    lines = ["patient_id,diagnosis,clinical_type,age,sex,nat_date"]
    for one in planned:
        patient, tested = one.patient, one.nat_date.isoformat() if one.nat_date else ""
        lines.append(
            f"{patient.patient_id},{one.diagnosis},{one.clinical_type},{patient.age},{patient.sex},{tested}"
        )
    return "\n".join(lines) + "\n"
