"""A network."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.models import Classifier
from xai_sweep.models.source import ModelSource, frozen, seeded


class Network(nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(8, classes)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class Tiny(ModelSource):
    """An untrained network. One with weights in a file needs no class: see ``model=checkpoint``.

    Attributes:
        classes: how many it tells apart.
        size: height and width of its input, in pixels.
        seed: of the weights.
    """

    classes: Annotated[int, Ge(2)] = 5
    size: Annotated[int, Ge(8)] = 32
    seed: Annotated[int, Ge(0)] = 0

    @override
    def identity(self) -> dict[str, str]:
        return {"weights": f"random, seed {self.seed}"}

    @override
    def load(self) -> Classifier:
        with seeded(self.seed):
            network = Network(self.classes)
        return Classifier(frozen(network), size=self.size)
