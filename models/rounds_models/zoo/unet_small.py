"""A 3-D U-Net sized for a CPU: in-plane neighbours are folded into channels, so it starts at 2 mm."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rounds_models.zoo.registry import Size, register

_RARE = -3.0  # lesions start as improbable as they are, which saves the first steps


@dataclass(frozen=True)
class UNetSmallConfig:
    """Channels of each level, and how many voxels (z, y, x) are folded into one before the first."""

    channels: tuple[int, ...] = (8, 16, 32, 64)
    fold: Size = (1, 2, 2)


def fold(volume: Tensor, by: Size) -> Tensor:
    """Move blocks of `by` voxels into channels: (n, c, z, y, x) to (n, c * bz * by * bx, z / bz, ...)."""
    n, c, z, y, x = volume.shape
    bz, by_, bx = by
    blocks = volume.reshape(n, c, z // bz, bz, y // by_, by_, x // bx, bx)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * bz * by_ * bx, z // bz, y // by_, x // bx)


def unfold(folded: Tensor, by: Size) -> Tensor:
    """Undo `fold`, exactly."""
    n, c, z, y, x = folded.shape
    bz, by_, bx = by
    blocks = folded.reshape(n, c // (bz * by_ * bx), bz, by_, bx, z, y, x)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, -1, z * bz, y * by_, x * bx)


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (inputs, outputs):
        layers += [nn.Conv3d(size, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNetSmall(nn.Module):
    """U-Net (Ronneberger 2015, in 3-D) with batch norm, max pooling and transposed convolutions."""

    def __init__(self, channels: tuple[int, ...], by: Size) -> None:
        super().__init__()
        self.by = by
        folded = by[0] * by[1] * by[2]
        self.down = nn.ModuleList(
            _convolutions(a, b) for a, b in zip((folded, *channels[:-1]), channels, strict=True)
        )
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, stride=2) for a, b in pairs)
        self.join = nn.ModuleList(_convolutions(2 * b, b) for _, b in pairs)
        self.pool = nn.MaxPool3d(2)
        self.head = nn.Conv3d(channels[0], folded, 1)
        nn.init.constant_(self.head.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, volume: Tensor) -> Tensor:
        """Return logits (n, 1, z, y, x) for values (n, 1, z, y, x)."""
        features = fold(volume, self.by)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else self.pool(features))
            skips.append(features)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            features = join(torch.cat([up(features), skip], dim=1))
        return unfold(self.head(features), self.by)


def _divisor(config: UNetSmallConfig) -> Size:
    pooled = 2 ** (len(config.channels) - 1)
    return (config.fold[0] * pooled, config.fold[1] * pooled, config.fold[2] * pooled)


@register("unet_small", task="segmentation", config=UNetSmallConfig, divisor=_divisor)
def unet_small(config: UNetSmallConfig) -> nn.Module:
    """Build the network."""
    return UNetSmall(config.channels, config.fold)
