"""DeepLIFT's multipliers, layer by layer and window by window, as the paper has them."""

import torch
from torch import Tensor, nn


def contributions(module: nn.Sequential, image: Tensor, start: Tensor, target: int) -> Tensor:
    """The contribution of every element of one image ``[1, C, H, W]``; its size is a pool's."""
    values = [(image, start)]
    with torch.no_grad():
        for layer in module:
            x, x0 = values[-1]
            values.append((layer(x), layer(x0)))
    multipliers = torch.zeros_like(values[-1][0])
    multipliers[0, target] = 1
    for layer, before, after in zip(
        reversed(module), reversed(values[:-1]), reversed(values[1:]), strict=True
    ):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Flatten):
            multipliers = torch.autograd.functional.vjp(layer, before[0], multipliers)[1]
        elif isinstance(layer, nn.Softmax | nn.GroupNorm | nn.LayerNorm):
            multipliers = _averaged(layer, multipliers, before)
        elif isinstance(layer, nn.MaxPool2d):
            multipliers = _max_pool(int(layer.kernel_size), multipliers, before, after)
        else:
            change = before[0] - before[1]
            slopes = (after[0] - after[1]) / change
            multipliers = multipliers * slopes.where(change.abs() > 1e-9, 0)
    return multipliers * (image - start)


def _averaged(layer: nn.Module, multipliers: Tensor, before: tuple[Tensor, Tensor]) -> Tensor:
    """The mean gradient on the line between the inputs, by many rectangles of equal width."""
    (x, x0), points = before, 2000
    gradients = [
        torch.autograd.functional.vjp(layer, x0 + (x - x0) * (point + 0.5) / points, multipliers)[1]
        for point in range(points)
    ]
    return torch.stack(gradients).mean(dim=0)


def _max_pool(
    size: int, multipliers: Tensor, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]
) -> Tensor:
    """The rise of a window's maximum goes to its pixel, the fall to the reference's pixel."""
    found = torch.zeros_like(before[0])
    for channel, row, column in torch.cartesian_prod(
        *(torch.arange(side) for side in multipliers.shape[1:])
    ).tolist():
        y, y0 = (float(maps[0, channel, row, column]) for maps in after)
        window = (
            0,
            channel,
            slice(row * size, (row + 1) * size),
            slice(column * size, (column + 1) * size),
        )
        x, x0 = before[0][window].flatten(), before[1][window].flatten()
        received = torch.zeros_like(x)
        for maps, part in ((x, max(y, y0) - y0), (x0, y - max(y, y0))):
            if part:
                received[maps.argmax()] += part
        change = (x - x0).where(received != 0, 1)
        slopes = (received / change).view(found[window].shape)
        found[window] += multipliers[0, channel, row, column] * slopes
    return found
