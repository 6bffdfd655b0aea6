"""De-identification scored: invented identities in real headers, passed actions / required actions, and the speed.

ROUNDS_BENCH_PYTHON names the interpreter of an environment with rivals.txt; without it ours is scored alone.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_fragments
from pydicom.uid import UID

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.burned import planted_pixels  # noqa: E402
from tests.bench.identities import SCRIPTS, Check, Kind, identity, plant, plant_script  # noqa: E402
from tests.bench.scorer import Planted, Score, score  # noqa: E402

from rounds.imaging.burned_in import find_text  # noqa: E402
from rounds.imaging.deid import deidentify  # noqa: E402
from rounds.imaging.dicom import Unreadable, quietly  # noqa: E402
from rounds.imaging.residue import Residue  # noqa: E402
from rounds.imaging.series import read_slice_header  # noqa: E402
from rounds.imaging.volume import load_slice  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "build" / "bench" / "deid.json"
KEY = bytes(range(32))
GOAL = 0.9995
RIVALS = ("dicognito", "dicom-anonymizer", "deid")
TESTFILES = "pydicom-testfiles/src/pydicom/data/test_files"
BASES = (
    "covid-ct-md/COVID-19/P001/98C14734-ASSH_1.dcm",
    "covid-ct-md/CAP/cap002/IM0001.dcm",
    "totalseg-ct/example_ct_dicom",
    "dcm-qa-ct/Philips/S21570/S4010/I10",
    "dcm-qa-ct/Philips/S21570/S1000/I10",
    "dcmqi/data/segmentations/ct-3slice/01.dcm",
    "dcmqi/data/segmentations/23x38x3/multiframe/mf.dcm",
    "dicom2nifti/failing/gantrytilting/001/IM-0001-0001.dcm",
    "dicom2nifti/failing/sliceincrement/001/IM-0001-0007-0001.dcm",
    "cip-chest/ct-64Dicom/IMG0001.dcm",
    "ricord1a-sag-mpr/dicom/1-001.dcm",
    f"{TESTFILES}/CT_small.dcm",
    f"{TESTFILES}/J2K_pixelrep_mismatch.dcm",
    f"{TESTFILES}/693_J2KI.dcm",
    "wg04/CT1_J2KI",
    "wg04/CT1_JPLL",
    "wg04/CT1_JLSL",
    "wg04/CT1_RLE",
)


def planted_files() -> list[Planted]:
    """Plant an identity in two slices made of each real header, three patients a header, one in another script."""
    files: list[Planted] = []
    for index, name in enumerate(BASES):
        path = DATA / name
        path = next(iter(sorted(path.iterdir()))) if path.is_dir() else path
        places = [(turn, number) for turn in range(3) for number in range(2)]
        files += [_planted(path, 3 * index + turn, number, scripted=turn == 2) for turn, number in places]
    return files


def _planted(path: Path, seed: int, number: int, scripted: bool) -> Planted:
    who = identity(seed)
    data = pydicom.dcmread(path)
    checks = plant(data, who, number)
    texts = [secret.encode() for secret in who.secrets]
    if scripted:
        more, parts = plant_script(data, seed % len(SCRIPTS))
        replaced = {check.path for check in more}
        checks = [c for c in checks if c.path not in replaced or c.kind is not Kind.TEXT_RETAINED] + more
        texts += parts
    checks += _stowaways(data, who.name)
    meta = data.file_meta if hasattr(data, "file_meta") else FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.SourceApplicationEntityTitle = who.station
    meta.PrivateInformationCreatorUID = UID("1.2.3")
    meta.PrivateInformation = who.name.encode()
    checks.append(Check(Kind.TEXT_REMOVED, ("file_meta", "SourceApplicationEntityTitle"), (who.station,)))
    checks.append(Check(Kind.TEXT_REMOVED, ("file_meta", "PrivateInformation"), who.secrets))
    data.preamble = f"{who.name} {who.phone}".encode().ljust(128, b"\0")
    if data.get("SliceThickness") not in (None, "") and not data.is_implicit_VR:
        value = data["SliceThickness"].value
        data[0x00180050] = pydicom.DataElement(0x00180050, "UN", str(value).encode())
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return Planted(str(seed), buffer.getvalue(), checks, tuple(dict.fromkeys(texts)))


def _stowaways(data: Dataset, name: str) -> list[Check]:
    """Hide a name in a comment of the compressed image, where there is one that takes comments."""
    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return []
    fragments = list(generate_fragments(data.PixelData))
    first = fragments[1] if len(fragments) > 1 and len(fragments[0]) == 0 else fragments[0]
    table = not fragments[0]
    note = name.encode() + b" " * (len(name) % 2)
    if first[:2] == b"\xff\xd8":
        changed = first[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + first[2:]
    elif first[:4] == b"\xff\x4f\xff\x51":
        at = 4 + int.from_bytes(first[4:6], "big")
        changed = first[:at] + b"\xff\x64" + (len(note) + 4).to_bytes(2, "big") + b"\0\1" + note + first[at:]
    else:
        return []
    items = [b"", changed, *fragments[2 if table else 1 :]]
    data.PixelData = b"".join(b"\xfe\xff\x00\xe0" + len(p).to_bytes(4, "little") + p for p in items)
    data["PixelData"].is_undefined_length = True
    return []


def ours(files: list[Planted], folder: Path) -> tuple[list[bytes | None], float]:
    """Return our results and how many files a second they took."""
    paths = _written(files, folder)
    results: list[bytes | None] = []
    start = time.perf_counter()
    for path, one in zip(paths, files, strict=True):
        try:
            result = deidentify(path, KEY, "bench").data
            results.append(None if one.of_pixels and has_text(path) else result)
        except Unreadable:
            results.append(None)
    return results, len(paths) / (time.perf_counter() - start)


def has_text(path: Path) -> bool:
    """Tell whether ingest would hold a slice back for the text in its pixels, as one of the slices it samples."""
    header = read_slice_header(path)
    return header.burned_in or find_text(load_slice(header)[None]) is not None


def rival(name: str, files: list[Planted], folder: Path) -> list[bytes | None] | None:
    """Return another package's results, or None where it is not installed."""
    paths = _written(files, folder)
    target = folder.parent / f"{name}-out"
    target.mkdir()
    python = os.environ.get("ROUNDS_BENCH_PYTHON", sys.executable)
    done = subprocess.run(
        [python, str(Path(__file__).with_name("rivals.py")), name, str(folder), str(target)]
    )
    if done.returncode != 0:
        return None
    outputs = [target / path.name for path in paths]
    return [path.read_bytes() if path.is_file() else None for path in outputs]


def _written(files: list[Planted], folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index:04d}{'pixels' * one.of_pixels}.dcm" for index, one in enumerate(files)]
    for path, one in zip(paths, files, strict=True):
        path.write_bytes(one.original)
    return paths


def second_check_share() -> float | None:
    """Return the second check's time as a share of de-identification's, processor time, over one real series."""
    paths = sorted((DATA / "covid-ct-md" / "COVID-19" / "P001").glob("*.dcm"))
    if not paths:
        return None
    shares = []
    for _ in range(5):
        checker, made, checked = Residue(), 0.0, 0.0
        for path in paths:
            start = time.process_time()
            result = deidentify(path, KEY, "bench").data
            middle = time.process_time()
            checker.find(path, result)
            made, checked = made + middle - start, checked + time.process_time() - middle
        shares.append(checked / made)
    return statistics.median(shares)


def suspected(files: list[Planted]) -> int:
    """Return in how many of the results the second check finds something."""
    return sum(bool(Residue().find(one.original, one.result)) for one in files if one.result is not None)


def scored(files: list[Planted], results: list[bytes | None]) -> Score:
    for one, result in zip(files, results, strict=True):
        one.result = result
    return score(files)


def main() -> int:
    if not DATA.is_dir():
        print("bench-deid needs ../shared/data, real headers that are not part of the repository")
        return 0
    warnings.simplefilter("ignore")
    with quietly(), tempfile.TemporaryDirectory() as scratch:
        files = planted_files() + list(planted_pixels(DATA))
        results, per_second = ours(files, Path(scratch, "ours"))
        mine = scored(files, results)
        found = {"ours": suspected(files)}
        others: dict[str, Score] = {}
        for name in RIVALS:
            theirs = rival(name, files, Path(scratch, name))
            if theirs is None:
                print(f"{name} is not installed: see tests/bench/rivals.txt and ROUNDS_BENCH_PYTHON")
            else:
                others[name] = scored(files, theirs)
                found[name] = suspected(files)
    _report(mine, others)
    print(f"of {len(files)} files the second check suspects: {found}")
    rows = _rows(mine, others)
    if share := second_check_share():
        print(f"second check: {share:.1%} of de-identification's time on a real series")
        rows.append({"name": "second check, share of de-identification's time", "ours": share, "unit": "1"})
    rows.append({"name": "de-identified planted files per second", "ours": per_second, "unit": "1/s"})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"rows": rows, "command": "make bench-deid"}, indent=1) + "\n")
    clean = mine.passed[Kind.TEXT_REMOVED] == mine.required[Kind.TEXT_REMOVED]
    return 0 if mine.share >= GOAL and clean else 1


def _rows(mine: Score, others: dict[str, Score]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    measures: list[tuple[str, Callable[[Score], float]]] = [("all", lambda one: one.share)]
    measures += [
        (str(kind), lambda one, kind=kind: one.passed[kind] / one.required[kind])  # type: ignore[misc]
        for kind in Kind
        if mine.required[kind]
    ]
    for what, share in measures:
        if not others:
            rows.append({"name": what, "ours": share(mine), "theirs": None, "ratio": None, "unit": "1"})
        for name, other in others.items():
            theirs = share(other)
            ratio = share(mine) / theirs if theirs else None
            rows.append(
                {
                    "name": f"{what} ({name})",
                    "ours": share(mine),
                    "theirs": theirs,
                    "ratio": ratio,
                    "unit": "1",
                }
            )
    return rows


def _report(mine: Score, others: dict[str, Score]) -> None:
    columns = {"ours": mine, **others}
    print(f"{'required action':<20}{'required':>9}" + "".join(f"{name:>18}" for name in columns))
    for kind in Kind:
        shares = "".join(f"{one.passed[kind] / one.required[kind]:>18.2%}" for one in columns.values())
        print(f"{kind:<20}{mine.required[kind]:>9}{shares}")
    total = sum(mine.required.values())
    print(f"{'all':<20}{total:>9}" + "".join(f"{one.share:>18.3%}" for one in columns.values()))
    for place, count in mine.failed.most_common(30):
        print(f"  ours failed {count}: {place}")


if __name__ == "__main__":
    sys.exit(main())
