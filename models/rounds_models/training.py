"""The training loop both tasks share: Adam with a warm-up and a cosine fall, for steps or for seconds."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from rounds_models.recipes import Recipe

Progress = Callable[[float, float], None]
_WARM_UP = 0.1
_SETTLING = 40


@dataclass(frozen=True)
class LogEntry:
    """The mean loss of the steps since the entry before."""

    step: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Trained:
    """What the loop did; `log` has about twenty entries."""

    steps: int
    seconds: float
    log: tuple[LogEntry, ...]


def learning_rate_at(share: float) -> float:
    """Return the factor on the recipe's learning rate when `share` of the training is done."""
    if share < _WARM_UP:
        return (share + 0.01) / (_WARM_UP + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP)))


def train(
    network: nn.Module,
    batch: Callable[[], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    recipe: Recipe,
    steps: int,
    max_seconds: float | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train in place for `steps` steps on what `batch` gives, calling `progress(share, loss)` after each step.

    Batch statistics are then averaged over 40 batches of their own: those of a running average of small batches lag and
    waver (Wu and Johnson 2021).

    With `max_seconds` the learning rate falls with the clock when that is ahead of the steps, so the weights
    then depend on the machine's speed.
    """
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    network.train()
    started, log, recent = time.monotonic(), list[LogEntry](), list[float]()
    every, step, share = max(1, steps // 20), 0, 0.0
    while share < 1.0:
        rate = recipe.learning_rate * learning_rate_at(share)
        for group in optimiser.param_groups:
            group["lr"] = rate
        values, target = batch()
        optimiser.zero_grad(set_to_none=True)
        error = loss(network(values), target)
        error.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        share = step / steps
        if max_seconds is not None:
            share = max(share, (time.monotonic() - started) / max_seconds)
        recent.append(float(error.detach()))
        if step % every == 0 or share >= 1.0:
            log.append(LogEntry(step, round(sum(recent) / len(recent), 5), rate))
            recent.clear()
        if progress is not None:
            progress(min(share, 1.0), float(error.detach()))
    update_bn((batch()[0] for _ in range(min(_SETTLING, step))), network)
    network.eval()
    return Trained(step, time.monotonic() - started, tuple(log))
