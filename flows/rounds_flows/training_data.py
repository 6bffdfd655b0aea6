"""A stage of a dataset version as the plain folder that `rounds_models` trains on; volumes are resampled once."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rounds.datasets.model import Member
from rounds.datasets.store import Dataset
from rounds.imaging.grid import Grid
from rounds.imaging.nifti import decode_mask, decode_volume, encode_mask, encode_volume
from rounds.imaging.resample import TRAINING_SPACING, to_training_grid
from rounds.imaging.resample_mask import resample_mask
from rounds.objects import ObjectStore
from rounds.settings import Settings


def lay_out(settings: Settings, objects: ObjectStore, dataset: Dataset, members: Sequence[Member]) -> Path:
    """Write images, masks and manifest.json of these members; return the folder.

    Everything under `<home>/cache` can be made again from the object store.
    """
    described = {entry["revision"]: entry for entry in json.loads(objects.get(dataset.manifest))["members"]}
    stage = sum(member.position >= 0 for member in members)
    stages = settings.home / "cache" / "stages"
    stages.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{stage}-", dir=stages))
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    cases = [_case(settings, objects, folder, member, described[member.revision_id]) for member in members]
    manifest = {"spacing_mm": list(TRAINING_SPACING), "cases": cases}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return folder


def _case(
    settings: Settings, objects: ObjectStore, folder: Path, member: Member, entry: Mapping[str, Any]
) -> dict[str, Any]:
    image, mask = f"images/{entry['case']}.nii.gz", f"masks/{entry['case']}.nii.gz"
    pool = settings.home / "cache" / "training"
    pool.mkdir(parents=True, exist_ok=True)
    pooled_image = pool / entry["volume"]
    pooled_mask = pool / f"{entry['volume'][:16]}-{entry['mask']}"
    if not (pooled_image.exists() and pooled_mask.exists()):
        _resample(objects, entry, pooled_image, pooled_mask)
    os.link(pooled_image, folder / image)
    os.link(pooled_mask, folder / mask)
    return {
        "id": str(entry["case"]),
        "patient": entry["patient"],
        "split": str(member.split),
        "image": image,
        "mask": mask,
        "diagnosis": entry["diagnosis"],
    }


def _resample(objects: ObjectStore, entry: Mapping[str, Any], image: Path, mask: Path) -> None:
    reading = decode_volume(objects.get(entry["volume"]))
    training = to_training_grid(reading)
    array, affine = decode_mask(objects.get(entry["mask"]))
    drawn = resample_mask(array, Grid.of(array.shape, affine), training.grid)
    for path, data in ((image, encode_volume(training)), (mask, encode_mask(drawn, training.affine))):
        draft = path.with_name(f"{path.name}.part")
        draft.write_bytes(data)
        draft.replace(path)
