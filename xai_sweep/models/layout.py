"""The order of a network's weights in memory."""

import torch
from torch import Tensor

from xai_sweep.models.checks import samples
from xai_sweep.models.classifier import Classifier, evaluating

# Of the largest logit: what another order of the same sums may cost in single precision.
_ROUNDING = 1e-4


def faster(classifier: Classifier, images: Tensor) -> None:
    """Put the weights in the ``channels_last`` format, if the network then says the same.

    On a CPU small batches run up to three times as fast in it. A network may depend on the usual
    order, as ``x.view(len(x), -1)`` behind a convolution does: it raises in this format, and other
    uses of strides give other logits. Such a network keeps its format.

    Args:
        classifier: of a network of our own; it is changed in place.
        images: of the shape that it will see.
    """
    if classifier.examined is not None and classifier.examined.is_random:
        return
    module = classifier.module
    maps = [each for each in (*module.parameters(), *module.buffers()) if each.dim() == 4]
    if not maps:
        return
    usual = [each.data for each in maps]
    with torch.no_grad(), evaluating(module):
        pictures = samples(classifier, images)[:2]
        wanted = module(pictures)
        for each in maps:
            each.data = each.data.contiguous(memory_format=torch.channels_last)
        try:
            found = module(pictures)
        except RuntimeError:
            found = torch.full_like(wanted, torch.nan)
        if not (found - wanted).abs().amax() <= _ROUNDING * wanted.abs().amax():
            for each, data in zip(maps, usual, strict=True):
                each.data = data
