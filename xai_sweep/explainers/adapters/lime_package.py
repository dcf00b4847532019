"""The `lime` package, unchanged: the reference for our LIME, in numbers and in speed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar
from unittest.mock import patch

import lime.lime_image
import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import EXECUTION_ONLY
from xai_sweep.core.seeds import derive
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.perturbation.superpixels import (
    Segmentation,
    SuperpixelFinder,
    as_photo,
    check_options,
)
from xai_sweep.models.classifier import Classifier, check_targets, evaluating
from xai_sweep.models.preprocessing import takes_photos


@dataclass(frozen=True)
class LimePackage(Explainer):
    """`lime.lime_image.LimeImageExplainer`, one image after the other.

    Attributes:
        num_samples: masked images per image, the whole one among them.
        seed: root of the masks, together with the image's own seed.
        segmentation, options: as for `Lime`.
        batch_size: masked images per forward pass.

    Source: Ribeiro, Singh, Guestrin 2016; https://github.com/marcotcr/lime.
    """

    num_samples: Annotated[int, Ge(2)] = 1000
    seed: int = 0
    segmentation: Segmentation = "quickshift"
    options: Mapping[str, Any] | None = None
    batch_size: Annotated[int, Ge(1), EXECUTION_ONLY] = 10
    _find: SuperpixelFinder = field(init=False, repr=False, compare=False)

    is_deterministic: ClassVar[bool] = False
    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Ribeiro et al. 2016, by the package lime"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self.segmentation, self.options)
        object.__setattr__(self, "_find", SuperpixelFinder(self.segmentation, self.options))

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return float(self.num_samples)

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        _check_channels(images.shape[1])
        return {}

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        _check_channels(images.shape[1])
        own_seeds = [0] * len(images) if seeds is None else seeds.tolist()
        pixels = classifier.normalisation.to_pixels(images.detach())

        def probabilities(photos: NDArray[np.float64]) -> NDArray[np.float64]:
            batch = torch.from_numpy(photos).permute(0, 3, 1, 2).to(images)
            batch = batch[:, : images.shape[1]]  # the package requires three channels
            logits: Tensor = classifier.module(classifier.normalisation.to_normalised(batch))
            check_targets(targets, logits.shape[1])
            return classifier.probabilities(logits).cpu().numpy()

        heatmaps = torch.zeros(*targets.shape, *images.shape[2:], dtype=torch.float64)
        with torch.no_grad(), evaluating(classifier.module), _without_bar():
            for index, image in enumerate(pixels):
                seed = derive(self.seed, str(own_seeds[index]), "lime package") % 2**32
                generator = np.random.RandomState(seed)
                found = lime.lime_image.LimeImageExplainer(random_state=generator).explain_instance(
                    as_photo(image),
                    probabilities,
                    labels=targets[index].tolist(),
                    top_labels=None,
                    num_samples=self.num_samples,
                    batch_size=self.batch_size,
                    segmentation_fn=self._find.of_photo,
                )
                for rank, target in enumerate(targets[index].tolist()):
                    weights = dict(found.local_exp[target])
                    labels = torch.from_numpy(found.segments)
                    table = torch.tensor([weights[j] for j in range(len(weights))])
                    heatmaps[index, rank] = table[labels]
        return Explained(heatmaps.to(images))


def _check_channels(channels: int) -> None:
    if not takes_photos(channels):
        allowed = f"the package takes photos, this network {channels} channels; explainer=lime can"
        raise InputError("explainer", "lime_package", allowed)


@contextmanager
def _without_bar() -> Iterator[None]:
    """The package shows a progress bar for every image, and has no argument to turn it off."""

    def quiet(rows: Iterable[Any]) -> Iterable[Any]:
        return rows

    with patch.object(lime.lime_image, "tqdm", quiet):
        yield
