"""What LIME finds for a batch of images, filled in round by round."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64, Num
from torch import Tensor

from xai_sweep.core.columns import Column
from xai_sweep.explainers.perturbation.surrogates.surrogate import Surrogate

FACTS = (
    Column(
        "surrogate_r2",
        "Weighted R2 of the linear model that explains the counterpart.",
        better="higher",
        null="the method fits no linear model",
        source="Ribeiro et al. 2016, arXiv:1602.04938, section 3.4",
    ),
    Column(
        "num_samples",
        "Masked images that this model was fitted to.",
        kind="int32",
        null="the method fits no linear model",
    ),
    Column(
        "coefficient_stderr",
        "Estimated standard error of this model's coefficients over draws of the masks, averaged "
        "over the coefficients, in units of the probability.",
        better="lower",
        null="the method fits no linear model, or there are too few samples to estimate it",
        source="Cameron and Miller 2015, doi:10.3368/jhr.50.2.317, equation 11",
    ),
)


@dataclass(frozen=True, eq=False)
class LimeResult:
    """A surrogate per image and target, with the number of samples that it was fitted to.

    Attributes:
        labels: superpixel of each pixel ``[B, H, W]``.
        present: which superpixels each image has ``[B, P]``.
        coefficients, intercept, r2, stderr: see `Surrogate`.
        num_samples: ``[B, K]``; 0 where there is no surrogate yet.
    """

    labels: Int64[Tensor, "b h w"]
    present: Bool[Tensor, "b p"]
    coefficients: Float64[Tensor, "b k p"]
    intercept: Float64[Tensor, "b k"]
    r2: Float64[Tensor, "b k"]
    stderr: Float64[Tensor, "b k p"]
    num_samples: Int64[Tensor, "b k"]

    @classmethod
    def empty(
        cls, labels: Int64[Tensor, "b h w"], present: Bool[Tensor, "b p"], targets: int
    ) -> "LimeResult":
        """Without any surrogate, for so many targets."""
        double = torch.zeros(
            len(labels), targets, present.shape[1], dtype=torch.float64, device=labels.device
        )
        one = double[..., 0]
        used = torch.zeros_like(one, dtype=torch.int64)
        return cls(
            labels, present, double, one.clone(), one.clone(), torch.zeros_like(double), used
        )

    def fill(
        self, images: Int64[Tensor, " a"], model: Surrogate, samples: int, good: Bool[Tensor, "a k"]
    ) -> None:
        """Take over surrogates that are precise enough; those of earlier rounds stay as they are.

        Args:
            images: which images of the batch the model is for.
            model: fitted to the samples so far.
            samples: how many these are.
            good: which of its surrogates are precise enough.
        """
        new = good & (self.num_samples[images] == 0)
        at, target = new.nonzero(as_tuple=True)
        image = images[at]
        self.coefficients[image, target] = model.coefficients[at, target]
        self.intercept[image, target] = model.intercept[at, target]
        self.r2[image, target] = model.r2[at, target]
        self.stderr[image, target] = model.stderr[at, target]
        self.num_samples[image, target] = samples

    def unfinished(self, images: Int64[Tensor, " a"]) -> Bool[Tensor, " a"]:
        """Which of these images still lack a surrogate."""
        return (self.num_samples[images] == 0).any(dim=1)

    def heatmaps(self) -> Float64[Tensor, "b k h w"]:
        """Every superpixel painted with its coefficient."""
        where = self.labels.flatten(1)[:, None].expand(-1, self.coefficients.shape[1], -1)
        painted = self.coefficients.gather(2, where)
        return painted.view(*painted.shape[:2], *self.labels.shape[1:])

    def facts(self) -> dict[str, Num[Tensor, "b k"]]:
        """The columns `FACTS`."""
        there = self.present[:, None].double()
        return {
            "surrogate_r2": self.r2,
            "num_samples": self.num_samples,
            "coefficient_stderr": (self.stderr * there).sum(dim=2) / there.sum(dim=2),
        }
