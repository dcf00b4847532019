"""Whether all of a logit is accounted for: what arrived, what constants absorbed, what was lost.

A network with an operation that an engine's author did not think of may lose relevance on its way,
and the heatmap would not show it. The accounts do: they are kept for every image, so that the check
costs nothing.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import Relevance
from xai_sweep.models.classifier import Classifier

# Of the logit; and, in double precision, of all relevance of both signs.
TOLERANCE, ROUNDING = 1e-4, 1e-9


def unaccounted(found: Relevance) -> Float[Tensor, "b k"]:
    """The part of each logit that is missing from the accounts, or too much, as an amount."""
    assert found.absorbed is not None
    assert found.lost is not None
    arrived = found.maps.double().flatten(2).sum(dim=2)
    return arrived + found.absorbed + found.lost - found.logits.double()


def check_accounts(
    found: Relevance,
    classifier: Classifier,
    again: Callable[[Classifier, torch.dtype], Relevance],
) -> None:
    """Refuse a network that loses relevance.

    Where single precision is too coarse, because relevance of both signs cancels, the images are
    explained once more in double precision, and that decides. What is no number is not judged:
    such heatmaps are counted where rows are.

    Args:
        found: relevance of some images, with accounts.
        classifier: the network.
        again: explains the same images with another classifier and type.

    Raises:
        InputError: the accounts do not add up to the logit.
    """
    if _adds_up(found, rounding=0.0):
        return
    with torch.inference_mode(False):
        exact = replace(classifier, module=copy.deepcopy(classifier.module).double())
    try:
        doubled, rounding = again(exact, torch.float64), ROUNDING
    except InputError:  # a network that asks for single precision itself
        doubled, rounding = found, TOLERANCE
    if not _adds_up(doubled, rounding):
        worst = 1 + (unaccounted(doubled) / doubled.logits.double()).flatten()
        allowed = (
            f"loses relevance in {type(classifier.module).__name__}: relevance_ratio, bias_share "
            f"and stabilizer_share add up to {float(worst[(worst - 1).abs().argmax()]):.4g} and "
            "not to 1; take another explainer, and please report the network"
        )
        raise InputError("explainer", "lrp", allowed)


def _adds_up(found: Relevance, rounding: float) -> bool:
    assert found.absorbed is not None
    assert found.lost is not None
    off = unaccounted(found).abs()
    gross = found.maps.double().abs().flatten(2).sum(2) + found.absorbed.abs() + found.lost.abs()
    is_good = off <= TOLERANCE * found.logits.double().abs() + rounding * gross
    return bool((is_good | ~off.isfinite()).all())
