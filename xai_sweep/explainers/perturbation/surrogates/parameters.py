"""What can be asked of LIME, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import EXECUTION_ONLY
from xai_sweep.explainers.perturbation.surrogates.designs import DESIGNS
from xai_sweep.explainers.perturbation.surrogates.masked import PRECISIONS
from xai_sweep.explainers.perturbation.surrogates.superpixels import check_options

_CHOICES = {
    "design": tuple(DESIGNS),
    "masks": ("common", "independent"),
    "segments": ("own", "moved"),
    "precision": tuple(PRECISIONS),
}
# The first round of `num_samples=auto`; each later one doubles the samples.
_FIRST_ROUND = 128


@dataclass(frozen=True)
class LimeParameters:
    """The parameters of LIME.

    Attributes:
        num_samples: masked images per image, the whole one among them; or ``auto``, which doubles
            them until the standard error is small enough, for each image and target by itself.
        seed: root of the masks, together with the image's own seed.
        segmentation: ``quickshift``, ``slic``, ``felzenszwalb`` (scikit-image) or ``grid``.
        options: parameters of the segmentation; quickshift's are by default those of the package.
        hide: what hidden superpixels are painted with: ``mean``, their own mean colour; or a grey
            level in [0, 1].
        design: ``bernoulli``, as in the package; ``paired``, each mask with its complement;
            ``orthogonal``, the same with rows of a Hadamard matrix.
        masks: ``common``, an image and its changed copies see the same masks; ``independent``.
        segments: ``own``, found anew in each copy; ``moved``, those of the clean image.
        kernel_width: of the exponential kernel on the cosine distance.
        alpha: ridge penalty.
        stderr: for ``auto``: the standard error at which to stop, relative to the coefficients,
            both as root mean squares over the superpixels.
        max_samples: for ``auto``: where to stop anyway.
        precision: of the masked forward passes: ``float32``, ``bfloat16`` or ``float16``.
        samples_at_once: masked images per forward pass; null for what is fast.

    Raises:
        InputError: a value that is not allowed; the message names its key.
    """

    num_samples: Any = 1000
    seed: int = 0
    segmentation: str = "quickshift"
    options: Any = None
    hide: Any = "mean"
    design: str = "bernoulli"
    masks: str = "common"
    segments: str = "own"
    kernel_width: float = 0.25
    alpha: float = 1.0
    stderr: float = 0.1
    max_samples: int = 8192
    precision: str = "float32"
    samples_at_once: Annotated[int | None, EXECUTION_ONLY] = None

    def __post_init__(self) -> None:
        check_options(self.segmentation, self.options)
        given: Mapping[str, str] = {
            "design": self.design,
            "masks": self.masks,
            "segments": self.segments,
            "precision": self.precision,
        }
        for key, value in given.items():
            if value not in _CHOICES[key]:
                allowed = f"must be one of {', '.join(_CHOICES[key])}"
                raise InputError(f"explainer.{key}", value, allowed)
        if self.num_samples != "auto" and not _is_count(self.num_samples, 2):
            allowed = "must be auto or a whole number of at least 2"
            raise InputError("explainer.num_samples", self.num_samples, allowed)
        is_level = isinstance(self.hide, int | float) and not isinstance(self.hide, bool)
        if self.hide != "mean" and not (is_level and 0 <= self.hide <= 1):
            raise InputError("explainer.hide", self.hide, "must be mean or a number in [0, 1]")
        positive = {"kernel_width": self.kernel_width, "alpha": self.alpha, "stderr": self.stderr}
        for name, number in positive.items():
            if not number > 0:
                raise InputError(f"explainer.{name}", number, "must be more than 0")
        if self.max_samples < _FIRST_ROUND:
            allowed = f"must be at least {_FIRST_ROUND}"
            raise InputError("explainer.max_samples", self.max_samples, allowed)
        if self.samples_at_once is not None and not _is_count(self.samples_at_once, 1):
            allowed = "must be null or a whole number of at least 1"
            raise InputError("explainer.samples_at_once", self.samples_at_once, allowed)

    def rounds(self) -> list[int]:
        """Samples of each round."""
        if self.num_samples != "auto":
            return [self.num_samples]
        totals = [_FIRST_ROUND]
        while totals[-1] < self.max_samples:
            totals.append(min(2 * totals[-1], self.max_samples))
        return [new - old for old, new in zip([0, *totals], totals, strict=False)]


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
