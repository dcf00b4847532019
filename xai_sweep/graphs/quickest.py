"""The fastest way to ask a network for its logits, again and again."""

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
    """What computes the logits of such images fastest.

    The graph with batchnorms taken into the convolutions, and on a CPU these packed for oneDNN;
    or the module itself, which must be in evaluation mode then, in double precision or if it
    cannot be captured.

    Args:
        classifier: the network.
        images: of the shape and type that it will see.
        precision: what autocast will be set to.
        gradients: whether gradients will be taken.
    """
    module: nn.Module = classifier.module
    if images.dtype == torch.float64 or module in _no_graphs:
        return module
    try:
        graph = folded(classifier, images)
    except InputError:  # nobody needs the graph here
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
