"""Every registered network has the right shapes, learns one example by heart, and is found by name."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rounds_models import zoo
from rounds_models.zoo.registry import Network, Size
from rounds_models.zoo.unet_small import fold, unfold


def smallest(network: Network, least: int = 16) -> Size:
    """Return the smallest size the network takes that is at least 16 voxels wide."""
    divisor = network.divisor(network.configure({}))
    sizes = [d * -(-least // d) for d in divisor]
    return sizes[0], sizes[1], sizes[2]


def example(network: Network) -> tuple[Tensor, Tensor]:
    """Return one input and its target: a bright box, or two cases told apart by the mask."""
    torch.manual_seed(1)
    size = smallest(network)
    if network.task == "segmentation":
        target = torch.zeros(1, 1, *size)
        target[..., 4:9, 5:11, 3:9] = 1
        return 0.2 * torch.rand_like(target) + 0.6 * target, target
    channels = torch.rand(2, 2, *size)
    channels[:, 1] = 0
    channels[1, 1, 4:9, 4:9, 4:9] = 1
    return channels, torch.tensor([[0.0], [1.0]])


@pytest.mark.parametrize("name", zoo.names())
def test_forward_has_the_promised_shape(name: str) -> None:
    network = zoo.find(name)
    values, _ = example(network)
    built = zoo.build(name).eval()
    with torch.no_grad():
        answer = built(values)
    assert answer.shape == (values.shape if network.task == "segmentation" else (2, 1))
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize("name", zoo.names())
def test_learns_one_example_by_heart(name: str) -> None:
    values, target = example(zoo.find(name))
    torch.manual_seed(0)
    network = zoo.build(name).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(network(values), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found, wanted = network(values) > 0, target > 0
    overlap = 2 * float((found & wanted).sum()) / float(found.sum() + wanted.sum())
    assert overlap > 0.95


@pytest.mark.parametrize("name", zoo.names())
def test_same_seed_builds_the_same_weights(name: str) -> None:
    built = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        built.append(torch.cat([p.flatten() for p in zoo.build(name).parameters()]))
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


def test_names_are_listed_by_task() -> None:
    assert "unet_small" in zoo.names("segmentation")
    assert "unet_small" not in zoo.names("classification")
    assert "resnet_small" in zoo.names("classification")


def test_an_unknown_network_is_refused_with_the_list() -> None:
    with pytest.raises(zoo.NetworkError, match=r"no network is called 'unet_huge'.*resnet_small.*unet_small"):
        zoo.find("unet_huge")


def test_an_option_that_does_not_fit_is_refused() -> None:
    with pytest.raises(zoo.NetworkError, match=r"'unet_small' do not fit: channels"):
        zoo.build("unet_small", {"channels": "wide"})
    with pytest.raises(zoo.NetworkError, match=r"'resnet_small' do not fit: depth"):
        zoo.build("resnet_small", {"depth": 50})


def test_a_name_is_registered_once() -> None:
    @dataclass(frozen=True)
    class Config:
        pass

    with pytest.raises(zoo.NetworkError, match="registered twice"):

        @zoo.register("unet_small", task="segmentation", config=Config, divisor=lambda _: (1, 1, 1))
        def again(config: Config) -> nn.Module:
            return nn.Identity()


def test_fold_moves_neighbours_into_channels_and_back() -> None:
    volume = torch.arange(2 * 1 * 4 * 6 * 8, dtype=torch.float32).reshape(2, 1, 4, 6, 8)
    folded = fold(volume, (2, 3, 4))
    assert folded.shape == (2, 24, 2, 2, 2)
    assert torch.equal(folded[0, :, 0, 0, 0], volume[0, 0, :2, :3, :4].flatten())
    assert torch.equal(unfold(folded, (2, 3, 4)), volume)
