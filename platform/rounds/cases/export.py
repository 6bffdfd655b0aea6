"""Accepted masks going out: on the grid of the scan itself, as DICOM SEG, NIfTI or NRRD."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from rounds import __version__
from rounds.cases import store
from rounds.cases.archive import frames_of, unpack
from rounds.cases.model import Format
from rounds.cases.store import Case
from rounds.db import Connection
from rounds.imaging.grid import Grid
from rounds.imaging.masks import label_volumes_ml
from rounds.imaging.nifti import decode_mask, encode_mask
from rounds.imaging.nrrd import NamedValue, encode_nrrd
from rounds.imaging.source import frame_headers, read_headers, source_grid
from rounds.imaging.terms import term_of
from rounds.imaging.to_source import mask_to_source
from rounds.labelstudio.schemes import Scheme, load_scheme
from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.trail.store import record

SUFFIXES = {Format.DICOM_SEG: ".dcm", Format.NIFTI: ".nii.gz", Format.NRRD: ".seg.nrrd"}
SOURCE_FOLDER = "source"


class NothingAccepted(Exception):
    """The case has no accepted label."""


class MaskUnusable(Exception):
    """The mask does not fit its case or its scheme."""


class OutUnusable(Exception):
    """The export cannot be written where it was asked for."""


@dataclass(frozen=True)
class Accepted:
    """The accepted mask of a case under a scheme; `model` names the model that drew first, if one did."""

    scheme: str
    label_id: int
    revision: int
    mask: str
    model: str | None


@dataclass(frozen=True)
class Exported:
    """One file that was written, and the volumes in ml by label on the reading grid and on the source grid."""

    scheme: str
    revision: int
    path: str
    algorithm: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    reading_ml: dict[str, float]
    source_ml: dict[str, float]


@dataclass(frozen=True)
class Source:
    """The slices of a case as they were scanned: de-identified files, their headers, their grid.

    `frames` names each slice's file and frame where there are multi-frame files.
    """

    files: tuple[bytes, ...]
    headers: list[FileDataset]
    grid: Grid
    frames: list[tuple[int, int]] | None


def export(
    conn: Connection,
    settings: Settings,
    case_id: int,
    form: Format,
    out: Path,
    *,
    scheme: str | None = None,
    with_source: bool = False,
    actor: str = "operator",
) -> list[Exported]:
    """Write the accepted masks of a case under `out`, each on the source grid; the trail names what left and how.

    `out` is a folder, or a file if its name ends as the format's files do and one mask is written. With `with_source`
    the de-identified slices are written beside it. Raise CaseUnknown, NothingAccepted, MaskUnusable or OutUnusable.
    """
    case = store.get(conn, case_id)
    masks = accepted(conn, case_id, scheme)
    paths = _paths(case_id, masks, form, out)
    objects = ObjectStore.from_settings(settings)
    packed = objects.get(case.dicom)
    files, frames = tuple(unpack(packed)), frames_of(packed)
    headers = read_headers(files)
    source = Source(files, headers, source_grid(frame_headers(headers, frames)), frames)
    made = [
        _encode(case, one, load_scheme(settings.annotation_configs, one.scheme), objects, source, form)
        for one in masks
    ]
    with conn.transaction():
        detail = {
            "format": str(form),
            "source": with_source,
            "revisions": {one.scheme: one.revision for one in masks},
        }
        record(conn, actor, "export", "case", case_id, detail=detail)
    for path, (data, _) in zip(paths, made, strict=True):
        _write(path, data)
    if with_source:
        for index, data in enumerate(files):
            _write(paths[0].parent / SOURCE_FOLDER / f"{index:04d}.dcm", data)
    return [Exported(path=str(path), **facts) for path, (_, facts) in zip(paths, made, strict=True)]


def accepted(conn: Connection, case_id: int, scheme: str | None = None) -> list[Accepted]:
    """Return the accepted masks of a case by scheme, of one scheme if named; raise NothingAccepted.

    A mask counts as a model's first if any revision that it goes back to was drawn by a model.
    """
    found = conn.execute(
        """
        WITH RECURSIVE line AS (
            SELECT r.id AS revision_id, r.parent_id, r.model_id
            FROM labels l JOIN revisions r ON r.id = l.revision_id WHERE l.case_id = %(case)s AND l.stage = 'accepted'
            UNION ALL
            SELECT line.revision_id, r.parent_id, r.model_id FROM line JOIN revisions r ON r.id = line.parent_id)
        SELECT l.scheme, l.id AS label_id, r.number AS revision, r.mask,
               (SELECT 'model ' || max(model_id) FROM line WHERE revision_id = r.id) AS model
        FROM labels l JOIN revisions r ON r.id = l.revision_id
        WHERE l.case_id = %(case)s AND l.stage = 'accepted'
          AND (%(scheme)s::text IS NULL OR l.scheme = %(scheme)s) ORDER BY l.scheme
        """,
        {"case": case_id, "scheme": scheme},
    ).fetchall()
    if not found:
        stages = conn.execute(
            "SELECT string_agg(scheme || ' is ' || stage, ', ' ORDER BY scheme) AS text FROM labels WHERE case_id = %s",
            (case_id,),
        ).fetchone()
        stand = (stages and stages["text"]) or "it has no label"
        wanted = f" under the scheme {scheme}" if scheme else ""
        raise NothingAccepted(f"case {case_id} has no accepted label{wanted} ({stand}): nothing was written")
    return [Accepted(**row) for row in found]


def row(one: Exported) -> dict[str, Any]:
    """Return what `rounds cases export` prints of a file."""
    return asdict(one)


def _paths(case_id: int, masks: Sequence[Accepted], form: Format, out: Path) -> list[Path]:
    """Return where each mask goes; `out` itself for a single one whose name says so."""
    if out.name.endswith(SUFFIXES[form]) and not out.is_dir():
        if len(masks) > 1:
            known = ", ".join(one.scheme for one in masks)
            raise OutUnusable(
                f"{out} is one file and there are {len(masks)} masks ({known}): name a folder, or one --scheme"
            )
        return [out]
    if out.exists() and not out.is_dir():
        raise OutUnusable(f"{out} is a file: name a folder, or a file ending in {SUFFIXES[form]}")
    return [out / f"case-{case_id}-{one.scheme}{SUFFIXES[form]}" for one in masks]


def _encode(
    case: Case, one: Accepted, scheme: Scheme, objects: ObjectStore, source: Source, form: Format
) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of one file and what is told of it."""
    reading = Grid.of(tuple(case.shape), np.asarray(case.affine, dtype=np.float64))
    mask, _ = decode_mask(objects.get(one.mask))
    if mask.shape != reading.shape:
        raise MaskUnusable(f"the mask of label {one.label_id} is not on the reading grid of case {case.id}")
    names = {label.value: label.name for label in scheme.labels}
    strangers = sorted({int(value) for value in np.unique(mask)} - {0, *names})
    if strangers:
        raise MaskUnusable(
            f"the mask of label {one.label_id} has values {strangers}, which {scheme.name} lacks"
        )
    moved = mask_to_source(mask, reading, source.grid)
    return _bytes(moved, source, scheme, one, form), {
        "scheme": one.scheme,
        "revision": one.revision,
        "algorithm": "semiautomatic" if one.model else "manual",
        "shape": source.grid.shape,
        "spacing_mm": source.grid.spacing,
        "reading_ml": _volumes(mask, reading, names),
        "source_ml": _volumes(moved, source.grid, names),
    }


def _bytes(mask: npt.NDArray[np.uint8], source: Source, scheme: Scheme, one: Accepted, form: Format) -> bytes:
    if form is Format.NIFTI:
        return encode_mask(mask, source.grid.affine)
    if form is Format.NRRD:
        labels = [NamedValue(label.value, label.name, label.colour) for label in scheme.labels]
        return encode_nrrd(mask, source.grid.affine, labels)
    from rounds.imaging.seg import Origin, Segment, encode_seg  # highdicom takes a second to import

    segments = [
        Segment(label.value, label.name, term_of(scheme.name, label.name), label.colour)
        for label in scheme.labels
    ]
    origin = Origin(scheme.name, scheme.title, one.mask, __version__, one.model)
    return encode_seg(mask, source.headers, segments, origin, source.frames)


def _volumes(mask: npt.NDArray[np.uint8], grid: Grid, names: dict[int, str]) -> dict[str, float]:
    found = label_volumes_ml(mask, grid.spacing)
    return {name: round(found.get(value, 0.0), 3) for value, name in names.items()}


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; raise OutUnusable."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutUnusable(f"{path} cannot be written ({error.strerror})") from error
