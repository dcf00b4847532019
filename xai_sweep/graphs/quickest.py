"""The fastest way to compute a network's logits many times."""

from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from xai_sweep.core.errors import InputError
from xai_sweep.graphs.folded import folded
from xai_sweep.graphs.packed import can_pack, packed
from xai_sweep.models.classifier import Classifier

_packed: WeakKeyDictionary[fx.GraphModule, dict[torch.dtype, fx.GraphModule]] = WeakKeyDictionary()
_no_graphs: WeakSet[nn.Module] = WeakSet()


def quickest(
    classifier: Classifier,
    images: Float[Tensor, "b c h w"],
    precision: torch.dtype | None = None,
    gradients: bool = False,
) -> Callable[[Tensor], Tensor]:
    """The fastest function that computes the logits of such images.

    The graph with batchnorms folded into the convolutions, which on a CPU are packed for oneDNN. In
    double precision, or if the network cannot be captured, the module itself; it must then be in
    evaluation mode.

    Args:
        classifier: the network.
        images: of the shape and type that the function will be called with.
        precision: the type that autocast will be set to, if any.
        gradients: whether its results will be differentiated.
    """
    module: nn.Module = classifier.module
    if images.dtype == torch.float64 or module in _no_graphs:
        return module
    try:
        graph = folded(classifier, images)
    except InputError:  # works without a graph, only more slowly
        _no_graphs.add(module)
        return module
    dtype = precision or images.dtype
    if gradients or images.device.type != "cpu" or not can_pack(dtype):
        return graph
    known = _packed.setdefault(graph, {})
    if dtype not in known:
        with torch.inference_mode(False), torch.no_grad():
            known[dtype] = packed(graph, images.clone(), dtype)
    return known[dtype]
