"""A 3-D ResNet sized for a CPU of two channels, the region and its lesion mask, that answers for a case."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rounds_models.zoo.registry import Size, register


@dataclass(frozen=True)
class ResNetSmallConfig:
    """Channels of each stage (each halves the size) and the dropout before the last layer."""

    channels: tuple[int, ...] = (8, 16, 32, 48)
    dropout: float = 0.2


class Residual(nn.Module):
    """Two 3x3x3 convolutions around a shortcut (He 2016, the basic block in 3-D)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        )
        self.second = nn.Sequential(
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs)
        )
        self.shortcut = nn.Sequential(
            nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features (n, outputs, z / stride, y / stride, x / stride)."""
        return functional.relu(self.second(self.first(features)) + self.shortcut(features))


class ResNetSmall(nn.Module):
    """One residual block a stage; mean and maximum over the volume feed the last layer."""

    def __init__(self, channels: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        sizes = zip((2, *channels[:-1]), channels, strict=True)
        self.stages = nn.Sequential(*(Residual(a, b, stride=2) for a, b in sizes))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels[-1], 1))

    def forward(self, channels: Tensor) -> Tensor:
        """Return logits (n, 1) for region and mask (n, 2, z, y, x)."""
        features = self.stages(channels)
        pooled = torch.cat([features.mean(dim=(2, 3, 4)), features.amax(dim=(2, 3, 4))], dim=1)
        logits: Tensor = self.head(pooled)
        return logits


def _divisor(config: ResNetSmallConfig) -> Size:
    step = 2 ** len(config.channels)
    return (step, step, step)


@register("resnet_small", task="classification", config=ResNetSmallConfig, divisor=_divisor)
def resnet_small(config: ResNetSmallConfig) -> nn.Module:
    """Build the network."""
    return ResNetSmall(config.channels, config.dropout)
