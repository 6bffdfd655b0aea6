"""What a trained model says about one scan: a lesion mask, or the probability that the case is positive."""

from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rounds_models.data import Image, Mask, Spacing, refuse_off_grid
from rounds_models.lungs import only_lungs
from rounds_models.model import Model, ModelError
from rounds_models.patches import to_unit
from rounds_models.recipes import Recipe
from rounds_models.zoo.registry import Size


@dataclass(frozen=True)
class Segmentation:
    """A prediction on the scan's own grid, (z, y, x): lesions 0 or 1, and their probability."""

    mask: Mask
    probability: NDArray[np.float32]


def predict_volume(model: Model, array: Image, spacing: Spacing) -> Segmentation:
    """Segment lesions in HU (z, y, x) on the training grid, by a sliding window over the lungs.

    Raises DataError when `spacing` (z, y, x) in mm is another grid's, ModelError for a classification model.
    """
    _refuse_other_task(model, "segmentation")
    refuse_off_grid(spacing, "the scan")
    lungs, box = only_lungs(array)
    probability = np.zeros(array.shape, dtype=np.float32)
    probability[box] = segment_crop(model, lungs)
    return Segmentation((probability >= model.threshold).astype(np.uint8), probability)


def predict_case(model: Model, array: Image, mask: Mask, spacing: Spacing) -> float:
    """Return the probability of a positive case from HU and lesion mask (z, y, x) on the training grid.

    Raises DataError and ModelError as `predict_volume` does.
    """
    _refuse_other_task(model, "classification")
    refuse_off_grid(spacing, "the scan")
    lungs, box = only_lungs(array)
    return classify_crop(model, lungs, mask[box])


def _refuse_other_task(model: Model, task: str) -> None:
    if model.task != task:
        raise ModelError(f"a {model.task} model was given where a {task} model is needed")


def inference_size(recipe: Recipe, shape: tuple[int, ...]) -> Size:
    """Return the window to slide: the recipe's, and along each axis no longer than the scan needs."""
    window = recipe.inference_patch or recipe.patch
    sizes = [min(w, d * -(-s // d)) for w, d, s in zip(window, recipe.divisor, shape, strict=True)]
    return sizes[0], sizes[1], sizes[2]


@torch.inference_mode()
def segment_crop(model: Model, crop: Image) -> NDArray[np.float32]:
    """Return the lesion probability of each voxel of a crop, (z, y, x)."""
    values = to_unit(np.ascontiguousarray(crop), model.recipe.window)[None, None]
    logits = sliding_window_inference(
        values.to(model.device),
        roi_size=inference_size(model.recipe, crop.shape),
        sw_batch_size=1,
        predictor=model.network,
        overlap=model.recipe.inference_overlap,
        mode="gaussian",
    )
    if not isinstance(logits, Tensor):
        raise ModelError(f"network {model.recipe.network} answers with more than one volume")
    return torch.sigmoid(logits)[0, 0].cpu().numpy()


def case_channels(crop: Image, mask: Mask, recipe: Recipe) -> Tensor:
    """Resize region and mask to the recipe's patch, (2, z, y, x), as means of the voxels that fall together.

    The region is what lies within `recipe.surround` patch voxels of the mask; all else is 0.
    """
    region = to_unit(np.ascontiguousarray(crop), recipe.window)
    lesions = torch.from_numpy(np.ascontiguousarray(mask) > 0).to(torch.float32)
    channels = functional.adaptive_avg_pool3d(torch.stack([region, lesions])[None], recipe.patch)
    reach = recipe.surround
    near = functional.max_pool3d((channels[:, 1:] > 0).float(), 2 * reach + 1, stride=1, padding=reach)
    return torch.cat([channels[:, :1] * near, channels[:, 1:]], dim=1)[0]


@torch.inference_mode()
def classify_crop(model: Model, crop: Image, mask: Mask) -> float:
    """Return the probability of a positive case; with left-right flips allowed, the mean of both views."""
    channels = case_channels(crop, mask, model.recipe)[None]
    views = [channels, channels.flip(-1)] if 2 in model.recipe.flip_axes else [channels]
    logits: Tensor = model.network(torch.cat(views).to(model.device))
    return float(torch.sigmoid(logits).mean())
