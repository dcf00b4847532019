"""Small random networks of every operation that relevance passes, each kept at 4 x 6 x 6."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, SIDE, CLASSES = 4, 6, 3


class Convolved(nn.Module):
    """A convolution of a kind, in front of something or alone."""

    def __init__(self, **kind: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, **{"kernel_size": 3, "padding": 1, **kind})  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Applied(nn.Module):
    """A function of the map, and of constants of this network's own."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.constant = nn.Parameter(torch.randn(CHANNELS, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.constant)


class Residual(nn.Module):
    """A branch beside the map; both are put together by a function."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.branch = Convolved(kernel_size=1, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.branch(x))


class Norm(nn.Module):
    """Batch normalisation with random statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


def by_function(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Applied(function)


def by_branch(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Residual(function)


def _column(constant: Tensor) -> Tensor:
    return constant[0].view(CHANNELS, 1, 1)


def _maxout(x: Tensor, dim: int = 2) -> Tensor:
    pairs = torch.cat([x, -x], 1).view(x.shape[0], CHANNELS, 2, SIDE, SIDE)
    return pairs.max(dim)[0]


# In these LRP-0 is input times gradient.
PIECEWISE_LINEAR: dict[str, Callable[[], nn.Module]] = {
    "conv": Convolved,
    "grouped": lambda: Convolved(groups=2),
    "depthwise": lambda: Convolved(groups=CHANNELS, bias=False),
    "dilated": lambda: Convolved(dilation=2, padding=2),
    "same": lambda: Convolved(padding="same"),
    "tokens": lambda: nn.Sequential(
        Applied(lambda x, _: x.flatten(2).transpose(1, 2)),
        nn.Linear(CHANNELS, CHANNELS),
        Applied(lambda x, _: x.transpose(1, 2).reshape(x.shape[0], CHANNELS, SIDE, SIDE)),
    ),
    "norm": Norm,
    "norm first": lambda: nn.Sequential(Norm(), Convolved()),
    "relu": nn.ReLU,
    "conv relu": lambda: nn.Sequential(Convolved(), nn.ReLU()),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "prelu": lambda: nn.PReLU(CHANNELS),
    "add": by_branch(lambda x, y: x + y),
    "subtract": by_branch(lambda x, y: x - y),
    "scaled sum": by_branch(lambda x, y: torch.add(x, y, alpha=-0.5)),
    "twice": by_function(lambda x, _: x + x),
    "concatenate": by_branch(lambda x, y: torch.cat([x[:, :2], y[:, 2:]], 1)),
    "constant part": by_function(
        lambda x, k: torch.cat(
            [x[:, :3], k.view(1, 1, 4, 4)[..., :1, :1].expand(x.shape[0], 1, SIDE, SIDE)], 1
        )
    ),
    "chunk": by_function(lambda x, _: torch.cat(x.chunk(2, 1)[::-1], 1)),
    "split": by_function(lambda x, _: torch.cat(x.split([1, 3], 1)[::-1], 1)),
    "one piece": by_function(lambda x, _: torch.cat([x.split(2, 1)[1], x[:, 1:3]], 1)),
    "stack": by_branch(lambda x, y: torch.stack([x, y], 1).sum(1)),
    "unbind": by_function(lambda x, _: torch.stack(x.unbind(1)[::-1], 1)),
    "constant in a stack": by_function(
        lambda x, k: torch.stack([x, _column(k).expand_as(x)], 1).sum(1)
    ),
    "pad": by_function(lambda x, _: F.pad(x, (1, 0, 0, 1))[:, :, 1:, :-1]),
    "constant padding": by_function(
        lambda x, _: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=0.7), 3, 1)
    ),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "max pool with indices": by_function(
        lambda x, _: F.max_pool2d(x, 3, 1, 1, return_indices=True)[0]
    ),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1),
    "both pools": by_function(
        lambda x, _: x + F.adaptive_max_pool2d(x, 1) + F.adaptive_avg_pool2d(x, 1)
    ),
    "coarse maximum": by_function(lambda x, _: F.interpolate(F.adaptive_max_pool2d(x, 3), SIDE)),
    "upsample": by_function(lambda x, _: F.interpolate(F.avg_pool2d(x, 2), SIDE, mode="bilinear")),
    "maxout": by_function(lambda x, _: _maxout(x)),
    "maximum": by_branch(torch.maximum),
    "minimum": by_branch(torch.min),
    "maximum with a constant": by_function(lambda x, k: torch.maximum(_column(k), x)),
    "largest": by_function(lambda x, _: x + x.amax((2, 3), keepdim=True)),
    "least": by_function(lambda x, _: x - x.min(1, keepdim=True)[0]),
    "best two": by_function(lambda x, _: x + x.topk(2, 1)[0].sum(1, keepdim=True)),
    "scale": by_function(lambda x, k: x * _column(k) / 1.5),
    "negative": by_function(lambda x, _: -x),
    "shift": by_function(lambda x, k: _column(k) + x),
    "shift before": by_function(lambda x, k: torch.sub(_column(k), x, alpha=2)),
    "reversed": by_function(lambda x, _: 1 - x),
    "centred": by_function(lambda x, _: x - 0.5 * x.mean((2, 3), keepdim=True)),
    "chosen": by_function(lambda x, _: x[:, [2, 0, 1, 1]]),
    "index": by_function(lambda x, _: x.index_select(3, torch.tensor([5, 4, 3, 2, 1, 0]))),
    "einsum": by_function(lambda x, k: torch.einsum("oc,bchw->bohw", k, x)),
    "matmul": by_function(lambda x, k: (k @ x.flatten(2)).view_as(x)),
    "masked": by_function(lambda x, _: x * (x > 0.1)),
    "mirror": by_function(lambda x, _: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)),
    "roll": by_function(lambda x, _: x.roll((1, 2), (2, 3)) + x.flip(3)),
    "repeat": by_function(lambda x, _: x.repeat(1, 2, 1, 1).unflatten(1, (2, CHANNELS)).sum(1)),
    "to depth": by_function(lambda x, _: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)),
    "bicubic": by_function(lambda x, _: F.interpolate(x, 8, mode="bicubic")[..., 1:7, 1:7]),
    "add a product": by_function(lambda x, k: torch.addcmul(_column(k), x, _column(k), value=0.5)),
    "length": by_function(lambda x, _: x + x.norm(dim=1, keepdim=True)),
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": lambda: nn.Sequential(Convolved(), nn.Sigmoid()),
    "sigmoid of zeros": lambda: nn.Sequential(nn.ReLU(), nn.Sigmoid()),
    "softplus": nn.Softplus,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Sequential(Convolved(), nn.Hardtanh(0.0, 1.0)),
    "raised": lambda: nn.Sequential(Convolved(), nn.Hardtanh(0.5, 2.0)),
    "clamp": by_function(lambda x, _: x.clamp(min=0)),
    "clamp above": by_function(lambda x, _: x.clamp(-1, 0.5)),
    "hardswish": nn.Hardswish,
    "gate": by_branch(lambda x, y: x * torch.sigmoid(y.mean((2, 3), keepdim=True))),
    "gate of a piece": by_function(
        lambda x, _: torch.cat([x[:, :2] * x.chunk(2, 1)[1].sigmoid(), x[:, 2:]], 1)
    ),
    "layer norm": by_function(
        lambda x, _: F.layer_norm(x.permute(0, 2, 3, 1), (CHANNELS,)).permute(0, 3, 1, 2)
    ),
    "group norm": by_function(lambda x, k: F.group_norm(x, 2, k[0], k[1])),
    "instance norm": by_function(lambda x, k: x + F.instance_norm(x, weight=k[0], bias=k[1])),
    "rms norm": by_function(lambda x, _: F.rms_norm(x, (SIDE, SIDE))),
    "unit length": by_function(lambda x, _: F.normalize(x, dim=1)),
    "product": by_branch(lambda x, y: x * y),
    "square": by_function(lambda x, _: x * x + x.square()),
    "spread": by_function(lambda x, _: x + x.var(1, keepdim=True)),
    "response norm": by_function(
        lambda x, k: (
            x + torch.addcmul(_column(k), x, x.norm(dim=(2, 3), keepdim=True) / (x.norm() + 1e-6))
        )
    ),
    "attention": by_function(
        lambda x, _: F.scaled_dot_product_attention(x, x, x) + (x @ x.mT).softmax(-1) @ x
    ),
}
OPERATIONS = PIECEWISE_LINEAR | OTHERS


class Network(nn.Module):
    """A convolution, operations one after another, and a head."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.middle = nn.Sequential(*(OPERATIONS[name]() for name in names))
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.middle(self.stem(images)).mean((2, 3)))


def network(names: Sequence[str], seed: int = 0) -> nn.Module:
    """With random weights, in float64 and evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(names).double().eval()
