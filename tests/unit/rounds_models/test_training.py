"""The loop takes the steps it is told and leaves batch statistics that are the mean of what the network was given."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from rounds_models import recipes
from rounds_models.training import train


def test_batch_statistics_are_those_of_the_batches_not_a_lagging_average() -> None:
    given: list[float] = []

    def batch() -> tuple[Tensor, Tensor]:
        given.append(5.0 + len(given))
        return given[-1] + torch.randn(4, 1, 2, 4, 4) * 1e-3, torch.zeros(4, 1, 2, 4, 4)

    network = nn.Sequential(nn.BatchNorm3d(1))
    recipe = replace(recipes.load("lesion_tiny"), learning_rate=1e-6)
    done = train(network, batch, functional.mse_loss, recipe, 3)
    assert done.steps == 3
    assert len(given) == 6  # three to learn from, three to settle
    statistics = network[0].running_mean
    assert isinstance(statistics, Tensor)
    assert abs(float(statistics) - sum(given[3:]) / 3) < 0.01
    assert not network.training
