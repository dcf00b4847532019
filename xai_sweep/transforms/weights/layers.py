"""The layers of a network that hold weights, in the order in which they run."""

import logging
from dataclasses import dataclass
from typing import TypeGuard

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from xai_sweep.core.errors import InputError
from xai_sweep.graphs.capture import capture
from xai_sweep.models.classifier import Classifier

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layer:
    """A module with parameters of its own, or a batchnorm without any.

    Attributes:
        path: of the module, ``features.0``; empty for the network itself, which may hold bare
            parameters.
        parameters: names of its own parameters, ``features.0.weight``. One that several modules
            share belongs to the first.
    """

    path: str
    parameters: tuple[str, ...]


def layers_in_order(classifier: Classifier, images: Float[Tensor, "b c h w"]) -> tuple[Layer, ...]:
    """The layers that compute the logits of such images, first to last.

    The order is that of the captured graph: modules are often registered in another order than
    they run in, and some do not run at all. Where a network cannot be captured it is the order of
    registration, and a warning says so.
    """
    module = classifier.module
    layers = _registered(module)
    try:
        graph = capture(classifier, images).graph
    except InputError as error:
        _log.warning(
            "Layers are taken in the order in which %s registers them, because its graph cannot be "
            "captured (%s).",
            type(module).__name__,
            error,
        )
        return tuple(layers.values())
    held = {id(tensor): path for path, layer in layers.items() for tensor in _held(module, layer)}
    tensors = {
        name: tensor
        for named in (graph.named_parameters, graph.named_buffers)
        for name, tensor in named(remove_duplicate=False)
    }
    used = (
        id(tensors[source.target])
        for node in graph.graph.nodes
        if node.op != "output"
        for source in node.all_input_nodes
        if source.op == "get_attr" and source.target in tensors
    )
    return tuple(layers[path] for path in dict.fromkeys(held[one] for one in used if one in held))


def has_statistics(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether this is a batchnorm with running statistics."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _registered(module: nn.Module) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    seen: set[int] = set()
    for path, part in module.named_modules():
        own = {
            f"{path}.{name}".lstrip("."): id(tensor)
            for name, tensor in part.named_parameters(recurse=False)
            if id(tensor) not in seen
        }
        seen.update(own.values())
        if own or has_statistics(part):
            layers[path] = Layer(path, tuple(own))
    return layers


def _held(module: nn.Module, layer: Layer) -> list[Tensor]:
    part = module.get_submodule(layer.path)
    parameters = [module.get_parameter(name) for name in layer.parameters]
    return parameters + (list(part.buffers(recurse=False)) if has_statistics(part) else [])
