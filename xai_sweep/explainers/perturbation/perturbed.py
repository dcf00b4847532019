"""Logits of images in which parts are replaced."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import target_scores
from xai_sweep.graphs.quickest import quickest
from xai_sweep.models.classifier import Classifier, evaluating

# Perturbed images in one forward pass: CPUs are fastest with few, and GPUs have room for many.
AT_ONCE = {"cpu": 4, "cuda": 256}


def perturbed_scores(
    classifier: Classifier,
    images: Float[Tensor, "b c h w"],
    replacement: Float[Tensor, "b c h w"],
    replaced: Iterator[Bool[Tensor, "_ h w"]],
    targets: Int64[Tensor, "b k"],
) -> Float[Tensor, "b n k"]:
    """The K target logits of every image, perturbed in N ways; one forward pass gives all K.

    Args:
        classifier: the network.
        images: ``[B, C, H, W]``.
        replacement: the pixels that replaced ones are taken from.
        replaced: N masks, one per perturbation, of the pixels to replace in each image:
            ``[B, H, W]``, or ``[1, H, W]`` for the same pixels in all images.
        targets: ``int64[B, K]``.

    Returns:
        ``[B, N, K]`` in the precision of the network.

    Raises:
        InputError: a target that is not a class of the network.
    """
    count = len(images)
    at_once = AT_ONCE.get(images.device.type, max(AT_ONCE.values()))
    scores: list[Tensor] = []
    with torch.no_grad(), evaluating(classifier.module):
        network = quickest(classifier, images)
        for masks in _stacks(replaced, count, max(1, at_once // count)):
            perturbed = torch.where(masks[:, :, None], replacement, images.detach())
            parts = torch.split(perturbed.flatten(0, 1), at_once)
            logits = torch.cat([network(part) for part in parts])
            kept = target_scores(logits, targets.repeat(len(masks), 1))
            scores.append(kept.view(-1, count, targets.shape[1]))
    return torch.cat(scores).transpose(0, 1)


def _stacks(
    masks: Iterator[Bool[Tensor, "_ h w"]], count: int, size: int
) -> Iterator[Bool[Tensor, "n b h w"]]:
    """The masks in stacks of a size, the last one perhaps smaller."""
    waiting: list[Tensor] = []
    for mask in masks:
        waiting.append(mask.expand(count, -1, -1))
        if len(waiting) == size:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)
