"""The weighted linear model that LIME fits to the predictions for masked images."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted model per image and target.

    Attributes:
        coefficients: ``[B, K, P]``, change of the score when a superpixel is shown; 0 where an
            image has no such superpixel.
        intercept: ``[B, K]``.
        r2: weighted coefficient of determination ``[B, K]``.
        stderr: standard error of each coefficient over draws of the masks ``[B, K, P]``; NaN if
            there are too few samples to estimate it.
    """

    coefficients: Float64[Tensor, "b k p"]
    intercept: Float64[Tensor, "b k"]
    r2: Float64[Tensor, "b k"]
    stderr: Float64[Tensor, "b k p"]


def proximity(
    masks: Bool[Tensor, "b n p"], present: Bool[Tensor, "b p"], kernel_width: float
) -> Float64[Tensor, "b n"]:
    """Weight of each sample: an exponential kernel of the cosine distance to the whole image.

    With m of M superpixels shown the distance is ``1 - sqrt(m / M)``; 1 if none is shown.
    """
    shown = (masks & present[:, None]).sum(dim=2).double()
    distance = 1 - (shown / present.sum(dim=1, keepdim=True)).sqrt()
    return (-(distance**2) / kernel_width**2).exp().sqrt()


def fit(
    masks: Bool[Tensor, "b n p"],
    present: Bool[Tensor, "b p"],
    scores: Float64[Tensor, "b n k"],
    clusters: Int64[Tensor, " n"],
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> Surrogate:
    """Ridge regression with intercept of all images and targets, solved at once in closed form.

    The standard errors are those of the sandwich estimator, samples of a pair taken together,
    with the usual correction for the number of coefficients.

    Args:
        masks: which superpixels are shown in which sample.
        present: which superpixels each image has.
        scores: the K targets' class probabilities for each sample.
        clusters: number of the pair that a sample belongs to, see `designs.clusters`.
        kernel_width: of the proximity.
        alpha: penalty of the squared coefficients.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", equation 2 and section 3.4,
    as in `lime.lime_base.LimeBase` with all features; for the errors, Cameron and Miller 2015,
    "A practitioner's guide to cluster-robust inference", equation 11.
    """
    weights = proximity(masks, present, kernel_width)[:, :, None]
    shown = (masks & present[:, None]).double()
    total = weights.sum(dim=1, keepdim=True)
    mean_shown = (weights * shown).sum(dim=1, keepdim=True) / total
    mean_score = (weights * scores).sum(dim=1, keepdim=True) / total
    centred, scored = shown - mean_shown, scores - mean_score
    weighted = weights * centred
    normal = centred.mT @ weighted
    normal.diagonal(dim1=1, dim2=2).add_(alpha)
    factor = torch.linalg.cholesky(normal)
    coefficients = torch.cholesky_solve(weighted.mT @ scored, factor)

    residual = scored - centred @ coefficients
    spread = (weights * scored**2).sum(dim=1)
    left = (weights * residual**2).sum(dim=1)
    # Where there is nothing to explain but rounding, everything is explained.
    something = spread > 1e-24 * (weights * scores**2).sum(dim=1)
    r2 = torch.where(something, 1 - left / spread, 1.0)
    intercept = mean_score - mean_shown @ coefficients
    return Surrogate(
        coefficients=coefficients.mT,
        intercept=intercept[:, 0],
        r2=r2,
        stderr=_errors(weighted, residual, factor, present, clusters),
    )


def _errors(
    weighted: Float64[Tensor, "b n p"],
    residual: Float64[Tensor, "b n k"],
    factor: Float64[Tensor, "b p p"],
    present: Bool[Tensor, "b p"],
    clusters: Int64[Tensor, " n"],
) -> Float64[Tensor, "b k p"]:
    count = int(clusters[-1]) + 1
    variances = []
    for target in range(residual.shape[2]):  # one by one, or memory would grow with the targets
        pulls = residual[:, :, target, None] * weighted
        together = pulls.new_zeros(len(pulls), count, pulls.shape[2])
        together.index_add_(1, clusters.to(pulls.device), pulls)
        variances.append(torch.cholesky_solve(together.mT, factor).square().sum(dim=2))
    free = (count - 1 - present.sum(dim=1)).double()
    correction = torch.where(free > 0, count / free, torch.nan)
    return (torch.stack(variances, dim=1) * correction[:, None, None]).sqrt()
