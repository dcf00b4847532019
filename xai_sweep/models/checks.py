"""What must hold of a network before its first image, found out with a few small passes.

No number may depend on which images share a batch or on when a network runs. So the network sees
three pictures: the first beside the second (and back, for gradients), beside the third, all three,
and the first alone, eight pictures in all.

A picture at the same place of a batch of the same size is computed by the same operations, so its
row must be the same up to a few roundings, whatever its neighbour: kernels are no excuse. Between
batches of different size the kernels differ, and only gross differences count.
"""

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import global_states, seeded_globally
from xai_sweep.models.classifier import Classifier, Examined, evaluating
from xai_sweep.models.output import Head, Logits, Reading, as_table, in_words, picked, read

# How far rows may differ, as a share of the largest output: in batches of one size, in roundings,
_ROUNDINGS = 16
# and in batches of different size, where TF32 and half precision stay below this.
_OTHER_SIZE = 0.05

_known: "WeakKeyDictionary[Classifier, Classifier]" = WeakKeyDictionary()


def examined(classifier: Classifier, images: Float[Tensor, "_ c h w"]) -> Classifier:
    """A classifier whose module returns logits, of which it is known that nothing else moves them.

    Args:
        classifier: each is examined once; one that was examined is returned as it is.
        images: of the shape, type and device of those that it will see; only that counts.

    Raises:
        InputError: the network cannot take such images, or returns what cannot be used; it draws
            random numbers; or its outputs depend on the other images of a batch.
    """
    if classifier.examined is not None:
        return classifier
    if classifier not in _known:
        _known[classifier] = _examine(classifier, images)
    return _known[classifier]


def samples(classifier: Classifier, like: Float[Tensor, "_ c h w"]) -> Float[Tensor, "3 c h w"]:
    """Three soft pictures of all colours, the same every time, as the network sees images."""
    small = np.random.Generator(np.random.Philox(0)).random((3, like.shape[1], 7, 7))
    size = (like.shape[2], like.shape[3])
    pixels = F.interpolate(torch.from_numpy(small), size, mode="bilinear", align_corners=True)
    return classifier.normalisation.to_normalised(pixels.to(like))


def _examine(classifier: Classifier, images: Tensor) -> Classifier:
    network = _uncompiled(classifier.module)
    first, second, third = torch.split(samples(classifier, images), 1)
    run = _Seeded(network, may_draw=classifier.stochastic == "allow")
    with torch.inference_mode(False), evaluating(network):
        reading, has_gradients = _first(run, torch.cat([first, second]), classifier.output_key)
        table = as_table(reading.outputs.detach())
        with torch.no_grad():
            _check_neighbours(run, reading.path, table, (first, second, third))
            takes_one = run.takes(first, reading.path, table)
    head, link = reading.head(classifier.output)
    head = replace(head, in_pairs=not takes_one)
    module = network if head == Head() else Logits(network, head)
    classes = 2 if head.is_single else table.shape[1]
    found = Examined(link, in_words(head, link), has_gradients, run.has_drawn, classes)
    return replace(classifier, module=module, examined=found)


def _check_neighbours(
    run: "_Seeded", path: str, table: Float[Tensor, "2 classes"], pictures: tuple[Tensor, ...]
) -> None:
    """Check that no row depends on the others, nor on when it is computed.

    Raises:
        InputError: one does.
    """
    first, second, third = pictures
    tolerance = _ROUNDINGS * torch.finfo(table.dtype).eps
    both, others = torch.cat([first, second]), torch.cat([first, third])
    if not _same(table[:1], run.table(others, path, pythons_seed=1)[:1], tolerance):
        if not _same(table, run.table(both, path), tolerance):
            raise _unsteady(run.network)
        if not _same(table, run.table(both, path, pythons_seed=1), tolerance):
            run.draws(both)
        if not _same(table[:1], run.table(others, path)[:1], tolerance):
            raise _mixed(run.network)
    if not run.has_drawn:  # in another place of a batch it would draw other numbers
        every = run.table(torch.cat([second, third, first]), path)
        if not _same(table.flip(0), every[[0, 2]], _OTHER_SIZE):
            raise _mixed(run.network)


class _Seeded:
    """Runs a network with the global generators set to the same seed each time.

    Whether it draws from Python's cannot be seen from its state, because others draw from it too;
    that is found by giving it another seed.

    Args:
        network: in evaluation mode.
        may_draw: whether it may draw from them.

    Attributes:
        has_drawn: whether it has drawn from any of them.
    """

    def __init__(self, network: nn.Module, may_draw: bool) -> None:
        self.network = network
        self.may_draw = may_draw
        self.has_drawn = False

    def __call__(self, images: Float[Tensor, "b c h w"], pythons_seed: int = 0) -> object:
        with seeded_globally(0, pythons_seed):
            before = global_states()
            try:
                returned: object = self.network(images)
            except InputError:
                raise
            except Exception as error:  # whatever the network's own code raises
                raise _cannot(self.network, images, error) from error
            has_drawn = global_states() != before
        if has_drawn:
            self.draws(images)
        return returned

    def draws(self, images: Float[Tensor, "b c h w"]) -> None:
        """Note that it draws random numbers.

        Raises:
            InputError: it may not.
        """
        if not self.may_draw:
            raise _random(self.network, images)
        self.has_drawn = True

    def table(
        self, images: Float[Tensor, "b c h w"], key: str, pythons_seed: int = 0
    ) -> Float[Tensor, "b classes"]:
        """What it returns, as numbers for each image."""
        outputs = picked(self(images, pythons_seed), key)
        if outputs.dim() == 0 or len(outputs) != len(images):
            allowed = f"must return a row for each image, but returns {list(outputs.shape)} for "
            raise InputError("model", _name(self.network), f"{allowed}{len(images)} images")
        return as_table(outputs)

    def takes(self, image: Float[Tensor, "1 c h w"], key: str, like: Tensor) -> bool:
        """Whether it takes one image alone, and returns one row like these."""
        try:
            alone = self.table(image, key)
        except InputError:
            return False
        return alone.shape[1] == like.shape[1]


def _first(run: _Seeded, images: Tensor, key: str | int | None) -> tuple[Reading, bool]:
    """What the network returns, and whether that can be differentiated at the pixels."""
    with torch.enable_grad():
        pixels = images.clone().requires_grad_()
        # Of a copy: a network may begin with an operation in place, which a leaf does not allow.
        reading = read(run, pixels.clone(), key)
        try:
            torch.autograd.grad(reading.outputs.sum(), pixels)
        except RuntimeError:  # it does not reach the pixels, or nobody wrote the way back
            return reading, False
    return reading, True


def _same(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    if ours.shape != theirs.shape:
        return False
    ours, theirs = ours.double(), theirs.double()
    scale = ours.nan_to_num(0, 0, 0).abs().amax().item()
    return torch.allclose(ours, theirs, rtol=0, atol=tolerance * scale, equal_nan=True)


def _uncompiled(module: nn.Module) -> nn.Module:
    """The network inside a module that `torch.compile` made, whose graph can be captured."""
    return dict(module.named_children()).get("_orig_mod", module)


def _name(network: nn.Module) -> str:
    return type(network).__name__


def _cannot(network: nn.Module, images: Tensor, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    kind = str(images.dtype).removeprefix("torch.")
    allowed = f"must take any number of images as {kind}{list(images.shape)}; it raised {reason}"
    return InputError("model", _name(network), allowed)


def _mixed(network: nn.Module) -> InputError:
    """The outputs for an image depend on its neighbours: names the layers that do this."""
    norms = [
        path or _name(network)
        for path, part in network.named_modules()
        if isinstance(part, _BatchNorm) and (part.running_mean is None or part.training)
    ]
    way_out = ""
    if norms:
        way_out = (
            f"; {', '.join(norms[:5])} must use running statistics (track_running_stats=True, and "
            "evaluation mode), or be another norm"
        )
    elif any("quantized.dynamic" in type(part).__module__ for part in network.modules()):
        way_out = ": dynamic quantisation takes its scale from all of them; use a static one"
    allowed = "its outputs for an image must not depend on the other images of a batch"
    return InputError("model", _name(network), f"{allowed}{way_out}")


def _unsteady(network: nn.Module) -> InputError:
    return InputError(
        "model",
        _name(network),
        "gives other outputs when it is run again, though the generators of torch, numpy and "
        "Python begin at the same seed; must keep no state between images and no generator of "
        "its own",
    )


def _random(network: nn.Module, images: Tensor) -> InputError:
    """The network draws random numbers: names the functions that do."""
    with seeded_globally(0), _Drawing() as drawing:
        network(images)
    training = [path for path, part in network.named_modules() if path and part.training]
    where = f" in {', '.join(drawing.names)}" if drawing.names else ""
    still = f"; {', '.join(training[:5])} stay in training mode" if training else ""
    return InputError(
        "model.stochastic",
        "refuse",
        f"the network draws random numbers{where} when it predicts{still}; that must be "
        "switched off, for dropout with training=self.training, or allowed with "
        "model.stochastic=allow: each image then has a seed of its own and is computed alone, "
        "which is slow",
    )


class _Drawing(TorchFunctionMode):
    """Notes the functions that draw from a global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, None] = {}

    @override
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = global_states()
        made = func(*args, **(kwargs or {}))
        if global_states() != before:
            self.names[func.__name__] = None
        return made
