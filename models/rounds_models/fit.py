"""How a model is made: a data set, a recipe and a seed in, a model folder out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn
from torch.nn import functional

from rounds_models import device as devices
from rounds_models import model as models
from rounds_models import zoo
from rounds_models.cache import Cache, CachedCase
from rounds_models.data import Case, DataError, DataSet, read_data_set
from rounds_models.metrics import dice, youden
from rounds_models.model import Model
from rounds_models.patches import PatchSampler, augment
from rounds_models.predict import case_channels, classify_crop, segment_crop
from rounds_models.recipes import Recipe
from rounds_models.training import Progress, Trained, train

_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Fitted:
    """A model that was trained: where it lies and what it took, in steps and seconds."""

    folder: Path
    steps: int
    seconds: float
    loss: float
    weights_sha256: str
    threshold: float


def fit(
    data: Path,
    out: Path,
    recipe: Recipe,
    seed: int,
    *,
    max_seconds: float | None = None,
    init: Path | None = None,
    segmentation: Path | None = None,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train `recipe` on the train split of `data` and write the model folder `out`.

    The same data, recipe, seed, thread count and machine give the same weights, unless `max_seconds` cuts in.
    The threshold is chosen on the val split, or is 0.5 without one. `init` is a weights.pt to start from. For a
    classification `segmentation` is a model folder: training then sees each case with the reference mask and with
    that model's, and the val cases get that model's. `cache` is a folder
    (default: DIR/cache).
    Raises DataError and ModelError.
    """
    started = time.monotonic()
    where = devices.choose(device)
    data_set = read_data_set(data)
    crops = Cache(cache or data / "cache")
    cases = crops.open_all(usable(data_set.split("train"), recipe))
    validation = crops.open_all(usable(data_set.split("val"), recipe))
    masks_from = models.load(segmentation, device, "segmentation") if segmentation else None
    with devices.deterministic(seed, where):
        network = zoo.build(recipe.network, recipe.network_options).to(where)
        if init is not None:
            network.load_state_dict(models.read_weights(init))
        rng = np.random.default_rng(seed)
        if recipe.task == "segmentation":
            batch, loss = _segmentation(cases, recipe, rng, where)
        else:
            batch, loss = _classification(cases, masks_from, recipe, rng, where)
        devices.arrange(network)
        trained = train(network, batch, loss, recipe, recipe.steps_for(len(cases)), max_seconds, progress)
        unfinished = Model(network, recipe, 0.5, "", where)
        threshold = choose_threshold(unfinished, validation, masks_from)
    facts = _facts(data_set, trained, seed, len(cases), len(validation), where)
    facts["threshold"] = 0.5 if threshold is None else threshold
    facts["threshold_from"] = "none" if threshold is None else "val"
    digest = models.save(out, network, recipe, facts)
    seconds = time.monotonic() - started
    return Fitted(out, trained.steps, seconds, trained.log[-1].loss, digest, float(str(facts["threshold"])))


def _facts(
    data_set: DataSet, trained: Trained, seed: int, cases: int, validation: int, where: torch.device
) -> dict[str, object]:
    return {
        "seed": seed,
        "data_manifest_sha256": data_set.sha256,
        "cases": {"train": cases, "val": validation},
        "device": where.type,
        "threads": torch.get_num_threads(),
        "steps": trained.steps,
        "seconds": round(trained.seconds, 2),
        "log": [asdict(entry) for entry in trained.log],
    }


def usable(cases: Sequence[Case], recipe: Recipe) -> tuple[Case, ...]:
    """Return the cases whose lesions, and for a classification whose diagnosis, are known."""
    known = (case for case in cases if case.has_reference)
    return tuple(case for case in known if recipe.task == "segmentation" or case.diagnosis is not None)


Batch = Callable[[], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def _segmentation(
    cases: Sequence[CachedCase], recipe: Recipe, rng: np.random.Generator, where: torch.device
) -> tuple[Batch, Loss]:
    if not any(len(case.centres) for case in cases):
        raise DataError(
            f"none of the {len(cases)} labelled training cases has a lesion; nothing can be learnt"
        )
    sampler = PatchSampler(cases, recipe, rng)
    overlap: nn.Module = DiceCELoss(sigmoid=True, batch=True)

    def batch() -> tuple[Tensor, Tensor]:
        image, mask = sampler.batch()
        changed = augment(torch.cat([image, mask], dim=1).to(where), recipe, rng)
        return changed[:, :1], (changed[:, 1:] >= 0.5).to(torch.float32)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        value: Tensor = overlap(logits, target)
        return value

    return batch, loss


def _classification(
    cases: Sequence[CachedCase],
    masks_from: Model | None,
    recipe: Recipe,
    rng: np.random.Generator,
    where: torch.device,
) -> tuple[Batch, Loss]:
    positive = np.asarray([case.case.diagnosis == "covid" for case in cases], dtype=bool)
    groups = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    if any(len(group) == 0 for group in groups):
        raise DataError(
            f"of the training cases with a diagnosis and a mask {len(groups[0])} are covid and "
            f"{len(groups[1])} are not; a classification needs both"
        )
    views = torch.stack([_views(case, masks_from, recipe) for case in cases])

    def batch() -> tuple[Tensor, Tensor]:
        half = recipe.batch // 2
        sizes = (half, recipe.batch - half)
        drawn = np.concatenate([rng.choice(g, size) for g, size in zip(groups, sizes, strict=True)])
        values = augment(views[drawn, rng.integers(views.shape[1], size=len(drawn))].to(where), recipe, rng)
        return values, torch.from_numpy(positive[drawn].astype(np.float32))[:, None].to(where)

    return batch, functional.binary_cross_entropy_with_logits


def _views(cached: CachedCase, masks_from: Model | None, recipe: Recipe) -> Tensor:
    """Return the channels (v, 2, z, y, x) with the reference mask and, from a model, with the predicted one."""
    image = np.asarray(cached.image[:])
    masks = [np.zeros(image.shape, np.uint8) if cached.mask is None else np.asarray(cached.mask[:])]
    if masks_from is not None:
        masks.append((segment_crop(masks_from, image) >= masks_from.threshold).astype(np.uint8))
    return torch.stack([case_channels(image, mask, recipe) for mask in masks])


def choose_threshold(
    model: Model, validation: Sequence[CachedCase], masks_from: Model | None
) -> float | None:
    """Return the threshold that does best on the val cases: by mean Dice, or by Youden's index.

    None when the val cases cannot tell (none, none with a lesion, or one class only).
    """
    if model.task == "classification":
        scores: list[float] = []
        for cached in validation:
            image = np.asarray(cached.image[:])
            if masks_from is not None:
                mask = (segment_crop(masks_from, image) >= masks_from.threshold).astype(np.uint8)
            else:
                mask = np.zeros(image.shape, np.uint8) if cached.mask is None else np.asarray(cached.mask[:])
            scores.append(classify_crop(model, image, mask))
        return youden(scores, [cached.case.diagnosis == "covid" for cached in validation])
    overlaps: list[list[float]] = []
    for cached in validation:
        if cached.mask is not None and len(cached.centres):
            probability, mask = segment_crop(model, np.asarray(cached.image[:])), np.asarray(cached.mask[:])
            overlaps.append([dice(probability >= threshold, mask) for threshold in _THRESHOLDS])
    return _THRESHOLDS[int(np.argmax(np.mean(overlaps, axis=0)))] if overlaps else None
