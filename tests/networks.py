"""Small networks, each with something that trips explanation methods up."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 5


class Plain(nn.Module):
    """Convolutions and modules of ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


class WithoutRules(nn.Module):
    """Three blocks, each with an operation for which LRP has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Accumulating() for _ in range(3)))
        self.classifier = nn.Linear(3, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.blocks(images).mean(dim=(2, 3)))


class Accumulating(nn.Module):
    """The logarithm of the sum of exponentials of all pixels to the left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).logcumsumexp(dim=3)


class Functional(Plain):
    """The same weights and results; ReLU is a function, and one module of it is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(F.relu(self.features[0](images)), 2)
        return self.classifier(self.relu(self.features[3](maps)).mean(dim=(2, 3)))


class InPlace(nn.Module):
    """Residual, with batchnorm; the shortcut reads what a ReLU has overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.stem(images))
        branch = self.block(self.relu(maps))
        maps = self.relu(maps + branch)
        return self.head(F.adaptive_avg_pool2d(maps, 1).flatten(1))


class Gated(nn.Module):
    """Depthwise convolution, ReLU6 and a squeeze-and-excitation gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.act = nn.ReLU6(inplace=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.depthwise(self.act(self.stem(images))))
        maps = maps * torch.sigmoid(self.gate(maps.mean(dim=(2, 3), keepdim=True)))
        return self.head(maps.mean(dim=(2, 3)))


class Linear(nn.Module):
    """Five sums of the red pixels of an image of 32 pixels, each with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(32 * 32, CLASSES, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images[:, 0].flatten(1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "functional": Functional,
    "in_place": InPlace,
    "gated": Gated,
}


def network(name: str, seed: int = 0) -> nn.Module:
    """A network with random weights and random batchnorm statistics, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = NETWORKS[name]()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return module.eval()


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights, biases and statistics everywhere, in evaluation mode.

    Half of the batchnorms' scales are negative.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                if part.bias is not None:
                    nn.init.normal_(part.bias, std=0.1)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 2)
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias, std=0.1)
    return module.eval()


class Views(nn.Module):
    """Flattens as PyTorch's first tutorial does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Linear(6 * 8 * 8, 3)

    def flat(self, maps: Tensor) -> Tensor:
        return maps.view(maps.size(0), -1)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.max_pool2d(torch.relu(self.first(images)), 2)
        return self.last(self.flat(maps))


class Strides(Views):
    """Reads the memory of a map in its usual order."""

    def flat(self, maps: Tensor) -> Tensor:
        return maps.as_strided((maps.shape[0], 6 * 8 * 8), (6 * 8 * 8, 1))


class Volumes(Views):
    """Parameters of five axes."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv3d(1, 1, 3, padding=1)

    def flat(self, maps: Tensor) -> Tensor:
        return self.deep(maps[:, None]).flatten(1)


class Flattens(Views):
    """The same network, whatever the format."""

    def flat(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)


class StridesByItself(Strides):
    """Likewise, and its graph cannot be captured."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 0 * images.detach().sum().item()
