"""What methods have in common that must see images before they can explain any."""

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from xai_sweep.explainers.base import Explainer
from xai_sweep.models.classifier import Classifier


class Fittable(Explainer):
    """A method that is fitted to a network and a set of images.

    Fitting gives a new value; neither the method nor the network is changed. A job fits by itself
    and keeps the file (see `xai_sweep.study.fitting`).
    """

    needs_fit: ClassVar[bool] = True

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether it can be bound."""

    @property
    @abstractmethod
    def limit(self) -> int | None:
        """How many images of a set are enough; None for all."""

    @abstractmethod
    def fit(
        self, classifier: Classifier, batches: Iterable[Float[Tensor, "_ c h w"]]
    ) -> "Fittable":
        """The method fitted, in one pass.

        Args:
            classifier: what will be explained.
            batches: images ``[B, C, H, W]`` in normalised space, on the network's device.

        Raises:
            InputError: there is no image, or the network cannot be captured.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what was fitted, completely or not at all."""

    @abstractmethod
    def restored(self, path: Path) -> "Fittable":
        """The method with what `save` wrote.

        Raises:
            InputError: the file is damaged or none of ours.
        """
