"""A black box: any Python function from images to probabilities."""

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import FileOf
from xai_sweep.models.classifier import Classifier, Normalisation
from xai_sweep.models.labels import read_labels
from xai_sweep.models.output import Output
from xai_sweep.models.preprocessing import check_normalisation, height_and_width, numbers
from xai_sweep.models.source import ModelSource

# Probabilities sum to 1 up to this, or never.
_SUM = 1e-3


@runtime_checkable
class Function(Protocol):
    """Images ``float32[B, C, H, W]`` from 0 to 1, as a numpy array, to probabilities.

    They are ``[B, classes]``, each row with a sum of 1; or each from 0 to 1 by itself; or ``[B]``,
    the probability of the second of two classes. An array, a tensor or lists.
    """

    def __call__(self, images: NDArray[Any]) -> Any:
        """The probabilities."""
        ...


@dataclass(frozen=True)
class CallableModel(ModelSource):
    """A function of the user, for methods that only ask: LIME, occlusion, kernel SHAP and others.

    It may call scikit-learn, ONNX Runtime or a web service. Each process imports it.

    Attributes:
        function: ``package.module:function``, see `Function`.
        version: of what it computes, any text. Cells of another version are other cells. Without
            it the file that defines the function stands for it: then nothing that the function
            reads, a file of weights for example, may change.
        mean, std: one number per channel, in pixel units: the mean colour that methods hide with,
            and the unit of noise. The function is given pixels.
        size: height and width of its input, in pixels; one number for a square.
        labels: class names, or the path of a file of them.
    """

    function: str | None = None
    version: str | None = None
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    size: int | Sequence[int] = 224
    labels: Annotated[str, FileOf("labels")] | Sequence[str] | None = None
    output: Output = field(default="probabilities", kw_only=True)

    def __post_init__(self) -> None:
        # Lists from a yaml file cannot be hashed.
        object.__setattr__(self, "mean", numbers("model.mean", self.mean))
        object.__setattr__(self, "std", numbers("model.std", self.std))
        if not isinstance(self.size, int):
            object.__setattr__(self, "size", height_and_width("model.size", self.size))
        check_normalisation(self.mean, self.std)
        if self.labels is not None and not isinstance(self.labels, str):
            object.__setattr__(self, "labels", tuple(self.labels))

    @override
    def identity(self) -> dict[str, str]:
        function = self._function()
        names = "\n".join(read_labels(self.labels))
        labels = {"labels": f"sha256:{hashlib.sha256(names.encode()).hexdigest()}"}
        if self.version is not None:
            return {"weights": f"version:{self.version}", **(labels if self.labels else {})}
        try:
            file = inspect.getsourcefile(inspect.unwrap(function))
        except TypeError:  # an object, a class of C
            file = None
        if file is None:
            allowed = f"is needed: {self.function} is defined in no file that could stand for it"
            raise InputError("model.version", None, allowed)
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        return {"weights": f"source:sha256:{content}", **(labels if self.labels else {})}

    @override
    def load(self) -> Classifier:
        space = Normalisation(tuple(self.mean), tuple(self.std))
        box = BlackBox(self._function(), str(self.function), space)
        labels = read_labels(self.labels)
        size = self.size if isinstance(self.size, int) else (self.size[0], self.size[1])
        return Classifier(box, space.mean, space.std, labels, size=size)

    def _function(self) -> Function:
        try:
            function: Any = resolve_name(self.function or "")
        except Exception as error:  # whatever the user's own module does when it is imported
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            allowed = f"must be package.module:function and importable ({reason})"
            raise InputError("model.function", self.function, allowed) from error
        if not callable(function):
            raise InputError("model.function", self.function, "must be a function of images")
        return function  # type: ignore[no-any-return]


class BlackBox(nn.Module):
    """A function as a network without weights, graph and gradients.

    Args:
        function: of the user.
        name: of the function, for messages.
        space: the normalisation that is undone before it is called.
    """

    def __init__(self, function: Function, name: str, space: Normalisation) -> None:
        super().__init__()
        self.function = function
        self.name = name
        self.space = space
        self._seen: tuple[tuple[int, ...], bool] | None = None

    @override
    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b ..."]:
        """Probabilities, in the images' type.

        Raises:
            InputError: the function returned something else.
        """
        pixels = self.space.to_pixels(images.detach()).clamp(0, 1).float().cpu().numpy()
        try:
            found = self.function(pixels)
            if isinstance(found, Tensor):
                found = found.detach().cpu().numpy()
            values = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self._refused(" ".join(f"{type(error).__name__}: {error}".split())) from error
        if values.ndim not in (1, 2) or len(values) != len(images) or not values.size:
            raise self._refused(f"it returned {list(values.shape)} for {len(images)} images")
        if not np.isfinite(values).all():
            raise self._refused("it returned NaN or infinity")
        if values.min() < -1e-6 or values.max() > 1 + 1e-6:
            raise self._refused(f"it returned {values.min():.3g} to {values.max():.3g}")
        self._check_like_before(values)
        return torch.from_numpy(values.clip(0, 1)).to(images)

    def _check_like_before(self, values: NDArray[Any]) -> None:
        """Refuse another number of classes, or another sum, than the first time."""
        shape = values.shape[1:]
        sums_to_one = bool((np.abs(values.reshape(len(values), -1).sum(axis=1) - 1) <= _SUM).all())
        if self._seen is None:
            self._seen = shape, sums_to_one
        elif self._seen[0] != shape:
            raise self._refused("the number of classes changed from one call to another")
        elif self._seen[1] and not sums_to_one:
            raise self._refused("their sum was 1 at first, and now is not")

    def _refused(self, why: str) -> InputError:
        allowed = "must return probabilities [images, classes], from 0 to 1"
        return InputError("model.function", self.name, f"{allowed}; {why}")
