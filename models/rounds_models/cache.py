"""The training cache: each scan cropped to its lungs, in blosc2, named by content; delete it freely."""

import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import blosc2
import numpy as np
from numpy.typing import NDArray

from rounds_models.data import Case, DataError, Image, Mask, read_image, read_mask
from rounds_models.lungs import Box, only_lungs

_VERSION = 2
_CHUNK = 64
_MOST_CENTRES = 4096


@dataclass(frozen=True)
class CachedCase:
    """A case whose voxels are read on demand.

    `image` and `mask` are blosc2 arrays of the lung box, (z, y, x); `shape` is that of the whole scan and `box`
    where the crop lies in it; `centres` are up to 4096 lesion voxels of the crop, `lesion_voxels` counts all
    of the whole scan.
    """

    case: Case
    image: blosc2.NDArray
    mask: blosc2.NDArray | None
    shape: tuple[int, ...]
    box: Box
    centres: NDArray[np.int32]
    lesion_voxels: int


class Cache:
    """A folder of crops. Broken or missing files are made again from the data set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open_all(self, cases: Iterable[Case]) -> tuple[CachedCase, ...]:
        """Open every case. Raises DataError for the first that cannot be used."""
        return tuple(self.open(case) for case in cases)

    def open(self, case: Case) -> CachedCase:
        """Open one case, from the cache when its files have not changed. Raises DataError."""
        image_name = f"{_digest(case.image)}-v{_VERSION}.b2nd"
        mask_name = None if case.mask is None else f"{image_name[:16]}-{_digest(case.mask)}-v{_VERSION}.b2nd"
        image = self._read(image_name)
        mask = None if mask_name is None else self._read(mask_name)
        if image is None or (mask_name is not None and mask is None):
            image, mask = self._build(case, image_name, mask_name)
        facts = dict(image.schunk.vlmeta["scan"])
        box = tuple(slice(*pair) for pair in facts["box"])
        centres = np.zeros((0, 3), dtype=np.int32)
        voxels = 0
        if mask is not None:
            centres = np.frombuffer(mask.schunk.vlmeta["centres"], dtype=np.int32).reshape(-1, 3)
            voxels = int(mask.schunk.vlmeta["lesion_voxels"])
        shape = tuple(facts["shape"])
        return CachedCase(case, image, mask, shape, (box[0], box[1], box[2]), centres, voxels)

    def _read(self, name: str) -> blosc2.NDArray | None:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            array = blosc2.open(str(path), mode="r")
            array.schunk.vlmeta["complete"]
        except (RuntimeError, ValueError, KeyError, OSError):
            return None
        return array

    def _build(
        self, case: Case, image_name: str, mask_name: str | None
    ) -> tuple[blosc2.NDArray, blosc2.NDArray | None]:
        image, _ = read_image(case.image, f"case {case.id}")
        mask = None if case.mask is None else read_mask(case.mask, image.shape, f"case {case.id}")
        lungs, box = only_lungs(image)
        self._write(image_name, lungs, {"scan": {"shape": list(image.shape), "box": _ends(box)}})
        if mask is not None and mask_name is not None:
            found = np.argwhere(mask[box] > 0).astype(np.int32)
            every = max(1, -(-len(found) // _MOST_CENTRES))
            facts = {"centres": found[::every].tobytes(), "lesion_voxels": int(np.count_nonzero(mask))}
            self._write(mask_name, mask[box], facts)
        built = self._read(image_name), None if mask_name is None else self._read(mask_name)
        if built[0] is None or (mask_name is not None and built[1] is None):
            raise DataError(f"case {case.id}: the cache cannot be written; is the disk full?")
        return built[0], built[1]

    def _write(self, name: str, array: Image | Mask, facts: dict[str, object]) -> None:
        unfinished = self.folder / f"{uuid.uuid4().hex}.b2nd"
        chunks = tuple(min(size, _CHUNK) for size in array.shape)
        stored = blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(unfinished),
            mode="w",
            chunks=chunks,
            cparams=blosc2.CParams(codec=blosc2.Codec.LZ4),
        )
        for key, value in facts.items():
            stored.schunk.vlmeta[key] = value
        stored.schunk.vlmeta["complete"] = True
        del stored
        os.replace(unfinished, self.folder / name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _ends(box: Box) -> list[list[int]]:
    return [[part.start, part.stop] for part in box]
