"""The contract of methods that must see images before they can explain any."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.hashing import file_sha256
from xai_sweep.explainers.base import Explainer
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.weights import existing


class Fittable(Explainer):
    """A method that is fitted to a network and a set of images.

    Fitting gives a new value; neither the method nor the network is changed. The method neither
    reads nor writes files: what was fitted comes as bytes and is given as bytes, and whoever runs
    the method keeps them in a file (see `xai_sweep.study.fitting`).
    """

    needs_fit: ClassVar[bool] = True

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether it can explain."""

    @property
    @abstractmethod
    def file(self) -> tuple[str, str] | None:
        """A file of an earlier fit that a parameter names: the parameter's key, and the path.

        Whoever runs the method reads it for `restored`.
        """

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

    @override
    def identity(self) -> dict[str, str]:
        if self.file is None:
            return {}
        key, path = self.file
        return {key: f"sha256:{file_sha256(existing(path, key))}"}

    @abstractmethod
    def to_bytes(self) -> bytes:
        """What was fitted, as the content of a file."""

    @abstractmethod
    def restored(self, content: bytes, name: str) -> "Fittable":
        """The method with what `to_bytes` gave.

        Args:
            content: of the file.
            name: of the file, for messages.

        Raises:
            InputError: the content is damaged, or is not a fit of this kind.
        """
