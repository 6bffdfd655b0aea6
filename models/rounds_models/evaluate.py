"""How a model does on one split of a data set: Dice, AUC, sensitivity, specificity and each case."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rounds_models import model as models
from rounds_models.cache import Cache, CachedCase
from rounds_models.data import TRAINING_SPACING, DataError, Mask, Split, read_data_set
from rounds_models.metrics import at_threshold, auc, auc_interval
from rounds_models.model import Model, ModelError
from rounds_models.predict import classify_crop, segment_crop

_VOXEL_ML = float(np.prod(TRAINING_SPACING)) / 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CaseResult:
    """What was found in one case: volumes in ml, None where the reference or the model is missing."""

    id: str
    diagnosis: str | None
    dice: float | None
    lesion_ml: float | None
    predicted_ml: float | None
    probability: float | None


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a split.

    `dice` is the mean over the `cases_with_lesions`, `false_positive_ml` the mean predicted volume over the
    labelled cases without. COVID is positive; a case is called positive at or above `operating_point`.
    """

    split: str
    cases: int
    dice: float | None
    cases_with_lesions: int
    false_positive_ml: float | None
    cases_without_lesions: int
    auc: float | None
    auc_ci95: tuple[float, float] | None
    sensitivity: float | None
    specificity: float | None
    operating_point: float | None
    positives: int
    negatives: int
    masks_from: str | None
    models: dict[str, str]
    per_case: tuple[CaseResult, ...]

    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        return asdict(self)


def evaluate(
    model: Path,
    data: Path,
    split: Split = "test",
    *,
    segmentation: Path | None = None,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model folder on a split of a data set.

    A segmentation model gives Dice. A classification model gives AUC, sensitivity and specificity, with the
    masks of `segmentation` when it is given (then Dice too, of that model), else with the reference masks.
    Raises DataError and ModelError.
    """
    main = models.load(model, device)
    helper = models.load(segmentation, device, "segmentation") if segmentation else None
    if helper is not None and main.task == "segmentation":
        raise ModelError("a segmentation model is evaluated alone; give the classification model with it")
    segmenter = main if main.task == "segmentation" else helper
    classifier = main if main.task == "classification" else None
    cases = read_data_set(data).split(split)
    if not cases:
        raise DataError(f"the data set has no case in split {split}")
    crops = Cache(cache or data / "cache")
    results: list[CaseResult] = []
    for number, case in enumerate(cases, start=1):
        results.append(_examine(crops.open(case), segmenter, classifier))
        if progress is not None:
            progress(number, len(cases))
    return _summary(split, results, segmenter, classifier)


def _examine(cached: CachedCase, segmenter: Model | None, classifier: Model | None) -> CaseResult:
    case, crop = cached.case, np.asarray(cached.image[:])
    reference = None
    if case.has_reference:
        reference = np.zeros(crop.shape, np.uint8) if cached.mask is None else np.asarray(cached.mask[:])
    predicted: Mask | None = None
    if segmenter is not None:
        predicted = (segment_crop(segmenter, crop) >= segmenter.threshold).astype(np.uint8)
    lesion_ml = cached.lesion_voxels * _VOXEL_ML if case.has_reference else None
    overlap = None
    if predicted is not None and reference is not None:
        overlap = _overlap(predicted, reference, cached.lesion_voxels)
    probability = None
    mask = predicted if predicted is not None else reference
    if classifier is not None and case.diagnosis is not None:
        if mask is None:
            raise DataError(f"case {case.id} has no mask; give a segmentation model")
        probability = classify_crop(classifier, crop, mask)
    predicted_ml = None if predicted is None else int(predicted.sum()) * _VOXEL_ML
    return CaseResult(case.id, case.diagnosis, overlap, lesion_ml, predicted_ml, probability)


def _overlap(predicted: Mask, reference: Mask, lesion_voxels: int) -> float:
    """Dice over the whole scan: lesion voxels outside the lungs' box count as missed."""
    total = int(predicted.sum()) + lesion_voxels
    both = int(np.count_nonzero((predicted != 0) & (reference != 0)))
    return 1.0 if total == 0 else 2.0 * both / total


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _summary(
    split: str, results: list[CaseResult], segmenter: Model | None, classifier: Model | None
) -> Evaluation:
    ill = [r for r in results if segmenter is not None and (r.lesion_ml or 0) > 0]
    clear = [r for r in results if segmenter is not None and r.lesion_ml == 0]
    scored = [r for r in results if r.probability is not None]
    scores = [r.probability or 0.0 for r in scored]
    positive = [r.diagnosis == "covid" for r in scored]
    point = at_threshold(scores, positive, classifier.threshold) if classifier is not None else None
    masks_from = None if classifier is None else "reference" if segmenter is None else "segmentation"
    used = {"segmentation": segmenter, "classification": classifier}
    return Evaluation(
        split=split,
        cases=len(results),
        dice=_mean(r.dice for r in ill),
        cases_with_lesions=len(ill),
        false_positive_ml=_mean(r.predicted_ml for r in clear),
        cases_without_lesions=len(clear),
        auc=auc(scores, positive),
        auc_ci95=auc_interval(scores, positive),
        sensitivity=None if point is None else point.sensitivity,
        specificity=None if point is None else point.specificity,
        operating_point=None if point is None else point.threshold,
        positives=sum(positive),
        negatives=len(positive) - sum(positive),
        masks_from=masks_from,
        models={task: one.weights_sha256 for task, one in used.items() if one is not None},
        per_case=tuple(results),
    )
