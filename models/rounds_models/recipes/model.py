"""What a recipe holds, and which combinations make no sense."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict

from rounds_models import zoo
from rounds_models.zoo.registry import Size, Task


class RecipeError(ValueError):
    """A recipe that is unknown or contradicts itself."""


@dataclass(frozen=True)
class Recipe:
    """Everything but data and seed that decides a model's weights.

    Sizes are voxels (z, y, x) of the training grid; `window` is in HU; `pan` is a share of the patch. For a
    segmentation `patch` is cut out of the scan, and `lesion_share` of the patches are centred on a lesion;
    for a classification the box around the lungs is resized to `patch`, half of each batch is
    positive, and the network sees the scan within `surround` voxels of the lesions (Wang 2020: the lesion region).
    Training takes `steps_per_case` steps for each training case, so that every case is seen as often however many
    there are, and never fewer than `steps`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    version: int
    task: Task
    network: str
    patch: Size
    steps: int
    batch: int
    steps_per_case: float = 0.0
    network_options: Mapping[str, object] = field(default_factory=dict)
    window: tuple[int, int] = (-1024, 350)
    learning_rate: float = 1e-4
    weight_decay: float = 5e-4
    flip_axes: tuple[int, ...] = (0, 1, 2)
    pan: float = 0.1
    zoom: tuple[float, float] = (0.9, 1.1)
    lesion_share: float = 0.5
    inference_patch: Size | None = None
    inference_overlap: float = 0.25
    surround: int = 2

    def __post_init__(self) -> None:
        network = zoo.find(self.network)
        if network.task != self.task:
            raise RecipeError(f"recipe {self.name!r} is for {self.task}, {self.network} for {network.task}")
        divisor = self.divisor
        for what, size in (("patch", self.patch), ("inference_patch", self.inference_patch or self.patch)):
            if any(s < d or s % d for s, d in zip(size, divisor, strict=True)):
                raise RecipeError(
                    f"recipe {self.name!r}: {what} {size} must be a multiple of {divisor} for {self.network}"
                )
        if self.window[0] >= self.window[1] or min(self.steps, self.batch, self.surround) < 1:
            raise RecipeError(f"recipe {self.name!r}: window, steps, batch and surround must be positive")
        if self.steps_per_case < 0:
            raise RecipeError(f"recipe {self.name!r}: steps_per_case must not be negative")
        if not set(self.flip_axes) <= {0, 1, 2} or not 0 < self.zoom[0] <= self.zoom[1]:
            raise RecipeError(f"recipe {self.name!r}: flip_axes are of 0, 1, 2 and zoom is (low, high)")

    def steps_for(self, cases: int) -> int:
        """Return how many steps training on so many cases takes."""
        return max(self.steps, round(self.steps_per_case * cases))

    @property
    def divisor(self) -> Size:
        """The sizes (z, y, x) that the network takes are multiples of this."""
        network = zoo.find(self.network)
        return network.divisor(network.configure(self.network_options))
