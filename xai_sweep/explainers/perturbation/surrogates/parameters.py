"""The parameters of LIME."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from xai_sweep.core.parameters import EXECUTION_ONLY, Declared
from xai_sweep.explainers.perturbation.superpixels import Segmentation, check_options
from xai_sweep.explainers.perturbation.surrogates.designs import Design
from xai_sweep.explainers.perturbation.surrogates.masked import Precision

# Samples of the first round of `num_samples=auto`; each later round doubles their number.
_FIRST_ROUND = 128


@dataclass(frozen=True)
class LimeParameters(Declared):
    """The parameters of LIME.

    Attributes:
        num_samples: masked images per image, including the whole one; or ``auto``, which doubles
            them until the standard error is small enough, for each image and target separately.
        seed: root of the masks, together with the image's own seed.
        segmentation: ``quickshift``, ``slic``, ``felzenszwalb`` (scikit-image) or ``grid``.
        options: parameters of the segmentation; by default those of the `lime` package.
        hide: the colour of hidden superpixels: ``mean``, their own mean colour; or a grey level in
            [0, 1].
        design: ``bernoulli``, as in the package; ``paired``, each mask with its complement;
            ``orthogonal``, the same with rows of a Hadamard matrix.
        masks: ``common``, an image and its changed copies share their masks; ``independent``.
        superpixels: of changed copies: ``own``, found anew in each copy; ``moved``, those of the
            clean image.
        kernel_width: of the exponential kernel on the cosine distance.
        alpha: ridge penalty.
        stderr: for ``auto``: the standard error to stop at, relative to the coefficients, both as
            root mean squares over the superpixels.
        max_samples: for ``auto``: the most samples to take.
        precision: of the masked forward passes: ``float32``, ``bfloat16`` or ``float16``.
        samples_at_once: masked images per forward pass; null for a number that is fast.

    Raises:
        InputError: a value that is not allowed; the message names its key.
    """

    group: ClassVar[str] = "explainer"

    num_samples: Literal["auto"] | Annotated[int, Ge(2)] = 1000
    seed: int = 0
    segmentation: Segmentation = "quickshift"
    options: Mapping[str, Any] | None = None
    hide: Literal["mean"] | Annotated[float, Interval(ge=0, le=1)] = "mean"
    design: Design = "bernoulli"
    masks: Literal["common", "independent"] = "common"
    superpixels: Literal["own", "moved"] = "own"
    kernel_width: Annotated[float, Gt(0)] = 0.25
    alpha: Annotated[float, Gt(0)] = 1.0
    stderr: Annotated[float, Gt(0)] = 0.1
    max_samples: Annotated[int, Ge(_FIRST_ROUND)] = 8192
    precision: Precision = "float32"
    samples_at_once: Annotated[Annotated[int, Ge(1)] | None, EXECUTION_ONLY] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self.segmentation, self.options)

    def rounds(self) -> list[int]:
        """Samples of each round."""
        if self.num_samples != "auto":
            return [self.num_samples]
        totals = [_FIRST_ROUND]
        while totals[-1] < self.max_samples:
            totals.append(min(2 * totals[-1], self.max_samples))
        return [new - old for old, new in zip([0, *totals], totals, strict=False)]
