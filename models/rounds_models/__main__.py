"""The command line: fit, predict and evaluate on plain folders, with no service running."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.progress import Progress as Bar

from rounds_models import device as devices
from rounds_models import model as models
from rounds_models import recipes
from rounds_models.data import TRAINING_SPACING, DataError, Split, read_image, read_mask, write_mask
from rounds_models.evaluate import evaluate as evaluate_model
from rounds_models.fit import fit as fit_model
from rounds_models.predict import predict_case, predict_volume
from rounds_models.recipes import RecipeError
from rounds_models.zoo import NetworkError

_REFUSED = (DataError, models.ModelError, RecipeError, NetworkError)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_DEVICE = click.option("--device", type=click.Choice(devices.CHOICES), default="auto", show_default=True)
_THREADS = click.option("--threads", type=click.IntRange(1), help="CPU threads (default: as torch chooses).")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
_CACHE = click.option("--cache", type=_FOLDER, help="Folder of the training cache (default: DATA/cache).")


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Train, use and judge models on plain folders."""


@contextmanager
def _clear_errors(threads: int | None) -> Iterator[None]:
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    except _REFUSED as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _bar(title: str, as_json: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a bar while stdout is a terminal; the callback takes the share done and a word about it."""
    if as_json or not sys.stdout.isatty():
        yield lambda share, note: None
        return
    with Bar() as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share, note: bar.update(task, completed=share, description=f"{title} {note}")


@main.command()
@click.option("--data", type=_FOLDER, required=True, help="Folder with manifest.json.")
@click.option("--out", type=_FOLDER, required=True, help="Model folder to write.")
@click.option("--task", type=click.Choice(["segmentation", "classification"]), required=True)
@click.option(
    "--recipe", "recipe_name", required=True, help=f"One of {', '.join(recipes.names())}, or a .yaml."
)
@click.option("--seed", type=int, default=0)
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Stop training by then.")
@click.option("--init", type=_FILE, help="weights.pt to start from.")
@click.option("--segmentation", type=_FOLDER, help="Model whose masks a classification also learns from.")
@_CACHE
@_DEVICE
@_THREADS
@_JSON
def fit(
    data: Path,
    out: Path,
    task: str,
    recipe_name: str,
    seed: int,
    max_seconds: float | None,
    init: Path | None,
    segmentation: Path | None,
    cache: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a model on the train split."""
    with _clear_errors(threads), _bar("Training", as_json) as show:
        recipe = recipes.load(recipe_name)
        if recipe.task != task:
            raise RecipeError(f"recipe {recipe.name} is for {recipe.task}, not for {task}")
        fitted = fit_model(
            data,
            out,
            recipe,
            seed,
            max_seconds=max_seconds,
            init=init,
            segmentation=segmentation,
            device=device,
            cache=cache,
            progress=lambda share, loss: show(share, f"loss {loss:.3f}"),
        )
    if as_json:
        click.echo(json.dumps({**asdict(fitted), "folder": str(out)}))
    else:
        click.echo(f"{out}: {fitted.steps} steps in {fitted.seconds:.0f} s, loss {fitted.loss:.3f}")


@main.command()
@click.option("--model", "model_folder", type=_FOLDER, required=True, help="Model folder.")
@click.option("--image", type=_FILE, required=True, help="Scan on the training grid, .nii.gz.")
@click.option("--mask", type=_FILE, help="Lesion mask; needed by a classification model.")
@click.option("--out", type=_FILE, help="Mask to write; needed by a segmentation model.")
@_DEVICE
@_THREADS
@_JSON
def predict(
    model_folder: Path,
    image: Path,
    mask: Path | None,
    out: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Segment the lesions of one scan, or give the probability that it shows COVID."""
    with _clear_errors(threads):
        model = models.load(model_folder, device)
        array, affine = read_image(image, "the image")
        if model.task == "classification":
            if mask is None:
                raise models.ModelError("a classification model needs --mask")
            probability = predict_case(
                model, array, read_mask(mask, array.shape, "the mask"), TRAINING_SPACING
            )
            found: dict[str, object] = {
                "probability": probability,
                "positive": probability >= model.threshold,
            }
            line = f"probability {probability:.3f}"
        else:
            if out is None:
                raise models.ModelError("a segmentation model needs --out")
            segmentation = predict_volume(model, array, TRAINING_SPACING)
            write_mask(out, segmentation.mask, affine)
            voxels = int(segmentation.mask.sum())
            found = {"out": str(out), "lesion_voxels": voxels, "lesion_ml": voxels * 2.5 / 1000}
            line = f"{out}: {voxels * 2.5 / 1000:.1f} ml of lesion"
    click.echo(json.dumps(found) if as_json else line)


@main.command()
@click.option("--model", "model_folder", type=_FOLDER, required=True, help="Model folder.")
@click.option("--data", type=_FOLDER, required=True, help="Folder with manifest.json.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test")
@click.option("--segmentation", type=_FOLDER, help="Model whose masks a classification model is given.")
@click.option("--out", type=_FILE, required=True, help="JSON file to write.")
@_CACHE
@_DEVICE
@_THREADS
@_JSON
def evaluate(
    model_folder: Path,
    data: Path,
    split: Split,
    segmentation: Path | None,
    out: Path,
    cache: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Judge a model on one split."""
    with _clear_errors(threads), _bar("Evaluating", as_json) as show:
        result = evaluate_model(
            model_folder,
            data,
            split,
            segmentation=segmentation,
            device=device,
            cache=cache,
            progress=lambda done, of: show(done / of, f"{done} of {of}"),
        )
    document = json.dumps(result.document(), indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(document + "\n", encoding="utf-8")
    values = {"Dice": result.dice, "AUC": result.auc, "cases": result.cases}
    shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)
    click.echo(json.dumps(result.document()) if as_json else shown)


if __name__ == "__main__":
    main()
