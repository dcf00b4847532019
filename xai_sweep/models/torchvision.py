"""Any image classifier of torchvision."""

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torchvision
from torch import nn
from torchvision.models import GoogLeNet, Inception3, WeightsEnum
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.downloads import downloading, hub_file
from xai_sweep.models.source import ModelSource, frozen, seeded
from xai_sweep.models.weights import Weights, classes_in, file_identity, put_weights, read_weights

# Outputs that only training needs. Weights of networks that were loaded as trained lack them.
_AUXILIARY = {"googlenet": "aux1", "inception_v3": "AuxLogits"}


@dataclass(frozen=True)
class TorchvisionModel(ModelSource):
    """A classifier of ``torchvision.models``, with the preprocessing of its default weights.

    Attributes:
        name: as in ``torchvision.models.list_models()``, e.g. ``resnet18``.
        weights: ``default`` (torchvision's own, downloaded once), ``random``, or the path of a
            state dict; the number of classes follows from the file.
        seed: of random weights.
        key: which tensors of a file, if several sets fit: the names in it that lead to them.
    """

    name: str
    weights: Weights = "default"
    seed: int = 0
    key: str | None = None

    @override
    def identity(self) -> dict[str, str]:
        default = self._default()
        if self.weights == "default":
            return {"weights": f"torchvision:{default}"}
        return {"weights": "random"} if self.weights == "random" else file_identity(self.weights)

    @override
    def load(self) -> Classifier:
        default = self._default()
        labels = tuple(default.meta["categories"])
        classes = len(labels)
        if self.weights == "default":
            with downloading(default.url, hub_file(default.url.rpartition("/")[2])):
                module = self._build(weights=default)
        elif self.weights == "random":
            module = self._build()
        else:
            content = read_weights(self.weights)
            training = _AUXILIARY.get(self.name)
            without = training and not any(f"{training}." in name for name in content.tensors)
            parts = {"aux_logits": False} if without else {}
            module = self._build(**parts)
            last = list(module.state_dict())[-1]
            classes = classes_in(content, module, last, classes)
            if classes != len(labels):
                module, labels = self._build(num_classes=classes, **parts), ()
            put_weights(module, content, self.key)
        preprocess = default.transforms()
        return Classifier(
            frozen(module),
            tuple(preprocess.mean),
            tuple(preprocess.std),
            labels,
            preprocess,
            preprocess.crop_size[0],
        )

    def _default(self) -> WeightsEnum:
        names = torchvision.models.list_models(module=torchvision.models)
        if self.name not in names:
            close = ", ".join(get_close_matches(str(self.name), names)) or "resnet18"
            raise InputError(
                "model.name",
                self.name,
                f"must be a classifier of torchvision.models; did you mean {close}?",
            )
        return torchvision.models.get_model_weights(self.name).DEFAULT

    def _build(self, **arguments: Any) -> nn.Module:
        with seeded(self.seed), warnings.catch_warnings():
            # Two old networks warn that their random initialisation may change.
            warnings.simplefilter("ignore", FutureWarning)
            module: nn.Module = torchvision.models.get_model(self.name, **arguments)
        if isinstance(module, GoogLeNet | Inception3):
            # Trained with another normalisation than their preprocessing applies; this converts it.
            module.transform_input = True
        return module
