"""A captured network in which every activation is a module of its own, for libraries that hook."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from xai_sweep.core.errors import InputError
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten

_MODULES: Mapping[Any, Callable[..., nn.Module]] = {
    aten.relu.default: nn.ReLU,
    aten.leaky_relu.default: nn.LeakyReLU,
    aten.elu.default: nn.ELU,
    aten.sigmoid.default: nn.Sigmoid,
    aten.tanh.default: nn.Tanh,
    aten.softplus.default: nn.Softplus,
    aten.max_pool2d.default: nn.MaxPool2d,
}
# Nonlinear operations that captum has no rule for.
_WITHOUT_RULE = frozenset(
    {
        aten.relu6.default,
        aten.hardtanh.default,
        aten.silu.default,
        aten.gelu.default,
        aten.mish.default,
        aten.hardswish.default,
        aten.hardsigmoid.default,
    }
)

# These have another rule for ReLU alone.
_OF_RELUS = ("Deconvolution", "GuidedBackprop")


def modular(captured: Captured, hooking: str | None = None) -> fx.GraphModule:
    """A copy of the graph for hooks. It shares the weights and nothing else.

    Args:
        captured: the network.
        hooking: name of the method, if it finds activations only by the types of modules.

    Raises:
        InputError: such a method would silently skip an activation of this network.
    """
    network = fx.GraphModule(captured.graph, copy.deepcopy(captured.graph.graph))
    for number, (node, original) in enumerate(
        zip(network.graph.nodes, captured.graph.graph.nodes, strict=True)
    ):
        if hooking and node.target in _WITHOUT_RULE:
            operation = str(node.target).split(".")[1]
            where = captured.paths.get(original) or "the network"
            allowed = (
                f"has no rule for {operation} (in {where}); must be a method without hooks, or "
                "explainer=deep_lift, guided_backprop or deconvnet"
            )
            raise InputError("explainer.method", hooking, allowed)
        if node.op == "call_function" and node.target in _MODULES:
            before, *rest = node.args
            name = f"activation_{number}"
            network.add_submodule(name, _MODULES[node.target](*rest, **node.kwargs))
            node.op, node.target, node.args, node.kwargs = "call_module", name, (before,), {}
    if hooking in _OF_RELUS and not any(isinstance(part, nn.ReLU) for part in network.modules()):
        allowed = "needs a ReLU: without one, as here, it is the plain gradient, Saliency"
        raise InputError("explainer.method", hooking, allowed)
    network.recompile()
    return network
