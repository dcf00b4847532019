"""Patterns by their equation, patch by patch, in float64 (Kindermans et al. 2018, section 4)."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def patches(layer: nn.Module, images: Tensor) -> list[tuple[int, Tensor, float]]:
    """Every neuron's index, the input that it sees ``[C / groups, kh, kw]``, and its output."""
    if isinstance(layer, nn.Linear):
        return [
            (k, image, float(layer.weight[k] @ image + layer.bias[k]))
            for image in images
            for k in range(layer.out_features)
        ]
    assert isinstance(layer, nn.Conv2d)
    (top, left), (sy, sx) = layer.padding, layer.stride
    (dy, dx), (kh, kw) = layer.dilation, layer.kernel_size
    found = []
    for image in images:
        channels, height, width = image.shape
        wide = torch.zeros(channels, height + 2 * top, width + 2 * left, dtype=image.dtype)
        wide[:, top : top + height, left : left + width] = image
        ins, outs = channels // layer.groups, layer.out_channels // layer.groups
        for y in range(0, wide.shape[1] - dy * (kh - 1), sy):
            for x in range(0, wide.shape[2] - dx * (kw - 1), sx):
                seen = wide[:, y : y + dy * (kh - 1) + 1 : dy, x : x + dx * (kw - 1) + 1 : dx]
                for k in range(layer.out_channels):
                    patch = seen[k // outs * ins : (k // outs + 1) * ins]
                    found.append((k, patch, float((layer.weight[k] * patch).sum() + layer.bias[k])))
    return found


@torch.no_grad()
def patterns(layer: nn.Module, images: Tensor, two_component: bool) -> Tensor:
    """``(E+[x y] - E+[x] E[y]) / w^T (...)``, the bias being the weight of an input of 1."""
    rows = []
    for k, weight in enumerate(layer.weight):
        mine = [(x, y) for neuron, x, y in patches(layer, images) if neuron == k]
        mean = sum(y for _, y in mine) / len(mine)
        counted = [(x, y) for x, y in mine if y > 0 or not two_component]
        if not counted:
            rows.append(torch.zeros_like(weight))
            continue
        xy = sum(x * y for x, y in counted) / len(counted)
        x1 = sum(x for x, _ in counted) / len(counted)
        y1 = sum(y for _, y in counted) / len(counted)
        direction = xy - x1 * mean
        length = (weight * direction).sum() + layer.bias[k] * (y1 - mean)
        rows.append(direction / length)
    return torch.stack(rows)
