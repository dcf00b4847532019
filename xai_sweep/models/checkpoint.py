"""A network of the user's own."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Annotated, Any

from annotated_types import Ge
from omegaconf import OmegaConf
from torch import nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import FileOf
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.labels import read_labels
from xai_sweep.models.preprocessing import check_normalisation, height_and_width, numbers
from xai_sweep.models.source import ModelSource, frozen, seeded
from xai_sweep.models.weights import file_identity, put_weights, read_weights


@dataclass(frozen=True)
class CheckpointModel(ModelSource):
    """A network by its import path, with weights from a file.

    An image is resized until it covers ``size / 0.875``, and the centre is cropped.

    Attributes:
        architecture: ``package.module:Class``, a class or function that builds the network.
        arguments: keyword arguments for it.
        path: a file of PyTorch, Lightning or safetensors, or a folder of timm or transformers; the
            tensors in it whose names and shapes fit the network are used.
        mean, std: the normalisation it was trained with, one number per channel, in pixel units.
        size: height and width of its input, in pixels; one number for a square.
        labels: class names, or the path of a file of them, see `label_files`.
        channels: of its input; None takes as many as ``mean`` has numbers. One is given grey
            photos, three colour photos, any other number stacks with as many channels.
        key: which tensors of the file, if several sets fit: the names in it that lead to them.
    """

    architecture: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    path: Annotated[str, FileOf("weights")] | None = None
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    size: int | Sequence[int] = 224
    labels: Annotated[str, FileOf("labels")] | Sequence[str] | None = None
    channels: Annotated[int, Ge(1)] | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        # Lists from a yaml file cannot be hashed.
        plain: Any = OmegaConf.to_container(OmegaConf.create({"_": self.arguments}), resolve=True)
        object.__setattr__(self, "arguments", plain["_"] or {})
        object.__setattr__(self, "mean", numbers("model.mean", self.mean))
        object.__setattr__(self, "std", numbers("model.std", self.std))
        if not isinstance(self.size, int):
            object.__setattr__(self, "size", height_and_width("model.size", self.size))
        check_normalisation(self.mean, self.std, self.channels)
        if self.labels is not None and not isinstance(self.labels, str):
            object.__setattr__(self, "labels", tuple(self.labels))

    @override
    def identity(self) -> dict[str, str]:
        identity = file_identity(self._path, "model.path")
        if isinstance(self.labels, str):  # rows hold the names, so their file counts too
            names = "\n".join(read_labels(self.labels))
            identity["labels"] = f"sha256:{hashlib.sha256(names.encode()).hexdigest()}"
        return identity

    @override
    def load(self) -> Classifier:
        labels = read_labels(self.labels)
        content = read_weights(self._path, "model.path")
        module = self._build()
        put_weights(module, content, self.key)
        size = self.size if isinstance(self.size, int) else (self.size[0], self.size[1])
        mean, std = tuple(self.mean), tuple(self.std)
        return Classifier(frozen(module), mean, std, labels, size=size)

    @property
    def _path(self) -> str:
        if self.path is None:
            raise InputError("model.path", None, "must be the path of a file of weights")
        return self.path

    def _build(self) -> nn.Module:
        try:
            architecture = resolve_name(self.architecture or "")
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(
                "model.architecture",
                self.architecture,
                f"must be package.module:Class and importable ({error})",
            ) from error
        try:
            with seeded(0):
                module = architecture(**self.arguments)
        except Exception as error:  # whatever the user's own code raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                "model.arguments",
                dict(self.arguments),
                f"{self.architecture} raised {reason}; must be arguments that it takes",
            ) from error
        if not isinstance(module, nn.Module):
            raise InputError(
                "model.architecture", self.architecture, "must build a torch.nn.Module"
            )
        return module
