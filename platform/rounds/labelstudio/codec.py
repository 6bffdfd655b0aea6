"""How a mask becomes Label Studio regions and comes back: one bitmask region per slice and label, bit-exact."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rounds.labelstudio.bitmask import decode_bitmask, encode_bitmask
from rounds.labelstudio.errors import SyncError
from rounds.labelstudio.schemes import Scheme

Mask = npt.NDArray[np.uint8]
Result = dict[str, Any]
REGION_TYPE = "bitmasklabels"


@dataclass(frozen=True)
class RegionOrigins:
    """How many regions were drawn anew, left as the pre-label had them, or changed from it."""

    manual: int
    prediction: int
    prediction_changed: int


def mask_to_results(mask: Mask, scheme: Scheme) -> list[Result]:
    """Return the regions of `mask` (z, y, x), a slice and label each; empty ones are left out.

    Raises ValueError when the mask holds a value that the scheme does not name.
    """
    unknown = set(np.unique(mask).tolist()) - {0} - {label.value for label in scheme.labels}
    if unknown:
        raise ValueError(f"the mask holds values {sorted(unknown)} that scheme {scheme.name} does not name")
    filled = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    return [
        _region(mask[z] == label.value, z, label.name, scheme)
        for z in filled
        for label in scheme.labels
        if (mask[z] == label.value).any()
    ]


def results_to_mask(
    results: Iterable[Mapping[str, Any]], shape: tuple[int, int, int], scheme: Scheme
) -> Mask:
    """Return the mask (z, y, x) of an annotation's regions; where two overlap the later one wins.

    Raises SyncError when a region is no bitmask, lies outside `shape`, is turned, or has an unknown label.
    """
    mask = np.zeros(shape, np.uint8)
    for number, result in enumerate(results, start=1):
        try:
            z, value, url = _read_region(result, shape[0], scheme)
            mask[z][decode_bitmask(url, shape[1:])] = value
        except SyncError as error:
            raise SyncError(f"region {number}: {error}") from None
    return mask


def count_origins(results: Iterable[Mapping[str, Any]]) -> RegionOrigins:
    """Count regions by where they came from; Label Studio marks a touched pre-label `prediction-changed`."""
    origins = [str(result.get("origin") or "manual") for result in results]
    return RegionOrigins(
        manual=sum(origin not in {"prediction", "prediction-changed"} for origin in origins),
        prediction=origins.count("prediction"),
        prediction_changed=origins.count("prediction-changed"),
    )


def prediction_to_annotation(results: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return the regions as an annotator's editor takes them over from a pre-label, untouched."""
    return [{**result, "origin": "prediction"} for result in results]


def _region(plane: npt.NDArray[np.bool_], z: int, label: str, scheme: Scheme) -> Result:
    height, width = plane.shape
    return {
        "id": f"z{z}-{scheme.value_of(label)}",
        "type": REGION_TYPE,
        "from_name": scheme.control,
        "to_name": scheme.image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "item_index": z,
        "value": {"imageDataURL": encode_bitmask(plane), REGION_TYPE: [label]},
    }


def _read_region(result: Mapping[str, Any], slices: int, scheme: Scheme) -> tuple[int, int, str]:
    if result.get("type") != REGION_TYPE or result.get("from_name") != scheme.control:
        raise SyncError("is not a bitmask of this scheme; redraw it with the brush")
    if result.get("image_rotation") or 0:
        raise SyncError("was drawn on a turned image; turn the image back and submit again")
    z = result.get("item_index", 0)
    if not isinstance(z, int) or isinstance(z, bool) or not 0 <= z < slices:
        raise SyncError(f"lies outside the task's {slices} slices")
    value = result.get("value")
    names = value.get(REGION_TYPE) if isinstance(value, Mapping) else None
    url = value.get("imageDataURL") if isinstance(value, Mapping) else None
    if not isinstance(names, list) or len(names) != 1 or not isinstance(url, str):
        raise SyncError("needs exactly one label and a mask")
    known = scheme.value_of(str(names[0]))
    if known is None:
        raise SyncError(f"has a label that scheme {scheme.name} does not name")
    return z, known, url
