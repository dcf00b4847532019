"""Any attribution method of captum, as an explainer."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import captum.attr
import torch
from annotated_types import Ge
from captum.attr import Attribution
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.core.seeds import seeded_globally
from xai_sweep.explainers.adapters.modular import modular
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.perturbation.superpixels import SuperpixelFinder, options_for
from xai_sweep.graphs.capture import capture
from xai_sweep.models.classifier import Classifier, check_targets

# The first compares the images of a batch with each other; the second has no rules for graphs.
_EXCLUDED = ("FeaturePermutation", "LRP")
_ABSTRACT = ("Attribution", "GradientAttribution", "PerturbationAttribution")
_RANDOM = ("GradientShap", "KernelShap", "Lime", "ShapleyValueSampling")
_HOOKING = ("DeepLift", "DeepLiftShap", "Deconvolution", "GuidedBackprop")
# Arguments that the adapter gives itself, or that would return something other than heatmaps.
_RESERVED = ("inputs", "target", "additional_forward_args", "return_convergence_delta", "kwargs")


def _methods() -> dict[str, type[Attribution]]:
    """The methods that need nothing but a model and explain its input."""
    found: dict[str, type[Attribution]] = {}
    for name in captum.attr.__all__:
        cls: Any = getattr(captum.attr, name)
        if not (inspect.isclass(cls) and issubclass(cls, Attribution)) or name in _EXCLUDED:
            continue
        first, *others = inspect.signature(cls).parameters.values()
        needs = [each for each in others if each.default is inspect.Parameter.empty]
        is_abstract = name in _ABSTRACT
        if first.name in ("model", "forward_func") and not needs and not is_abstract:
            found[name] = cls
    return dict(sorted(found.items()))


METHODS: Mapping[str, type[Attribution]] = _methods()


@dataclass(frozen=True)
class Captum(Explainer):
    """A method of captum, unchanged: its channels are summed, and it explains the logit.

    captum works on a copy of the captured graph in which every activation is a module of its own:
    functional and re-used ReLUs count, and its hooks never reach the network. Random methods get
    one image at a time, with torch's, numpy's and Python's generators set to its seed and restored
    afterwards. Every target costs a run of its own.

    Attributes:
        method: name of a class in `captum.attr` that explains pixels.
        parameters: further arguments of its ``attribute``; lists become tuples. A number for
            ``baselines`` means an image with that value everywhere, in normalised space.
        num_superpixels: where the method takes a ``feature_mask``, about how many superpixels.

    Source: Kokhlikyan et al. 2020, "Captum: a unified and generic model interpretability library".
    """

    method: str = "InputXGradient"
    parameters: Mapping[str, Any] | None = None
    num_superpixels: Annotated[int, Ge(2)] = 50
    _find: SuperpixelFinder = field(init=False, repr=False, compare=False)

    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Kokhlikyan et al. 2020, arXiv:2009.07896"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            allowed = f"must be one of {', '.join(METHODS)}"
            raise InputError("explainer.method", self.method, allowed)
        self._check_parameters()
        options = options_for("slic", self.num_superpixels)
        object.__setattr__(self, "_find", SuperpixelFinder("slic", options))
        object.__setattr__(self, "is_deterministic", self.method not in _RANDOM)

    def _check_parameters(self) -> None:
        given: object = self.parameters or {}
        if not isinstance(given, Mapping):
            allowed = "must be null or arguments of the method, e.g. {n_steps: 20}"
            raise InputError("explainer.parameters", given, allowed)
        known = self._arguments()
        for name, value in given.items():
            if name not in known:
                raise unknown_key(f"explainer.parameters.{name}", value, known)
        needed = [
            name
            for name, each in known.items()
            if each.default is inspect.Parameter.empty and name not in ("baselines", *given)
        ]
        if needed:
            allowed = f"{self.method} needs {', '.join(needed)} too"
            raise InputError("explainer.parameters", self.parameters, allowed)

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return float("nan")  # depends on the method

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        self._module(classifier, images)
        return {}

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        with torch.inference_mode(False), torch.enable_grad():
            pixels, at = images.clone().detach(), targets.clone()
            module = self._module(classifier, images)
            with torch.no_grad():
                check_targets(at, module(pixels[:1]).shape[1])
            method = METHODS[self.method](module)
            masks: Tensor | None = None
            if "feature_mask" in self._arguments():
                masks = self._find(classifier.normalisation.to_pixels(pixels))[:, None]
            is_random = self.method in _RANDOM
            together = len(pixels) if masks is None and not is_random else 1
            numbers = torch.zeros_like(at[:, 0]) if seeds is None else seeds
            seeded = seeded_globally if is_random else nullcontext
            found = []
            for first in range(0, len(pixels), together):
                chosen = slice(first, first + together)
                own = {} if masks is None else {"feature_mask": masks[chosen]}
                for rank in range(at.shape[1]):
                    with _quiet(), seeded(int(numbers[first])):
                        found.append(self._one(method, pixels[chosen], at[chosen, rank], own))
        maps = torch.cat(found).sum(dim=1)
        by_target = maps.view(-1, at.shape[1], together, *maps.shape[1:]).transpose(1, 2)
        return Explained(by_target.reshape(*at.shape, *maps.shape[1:]).to(images.dtype))

    def _module(self, classifier: Classifier, images: Tensor) -> fx.GraphModule:
        """The network in a form that captum can hook."""
        hooking = self.method if self.method in _HOOKING else None
        return modular(capture(classifier, images), hooking)

    def _arguments(self) -> dict[str, inspect.Parameter]:
        """The arguments of ``attribute`` that a user may give."""
        attribute: Any = METHODS[self.method].attribute
        known = inspect.signature(attribute).parameters
        return {name: each for name, each in known.items() if name not in ("self", *_RESERVED)}

    def _one(
        self, method: Any, images: Tensor, targets: Tensor, own: Mapping[str, Tensor]
    ) -> Tensor:
        """One target per image."""
        given = {name: _tuples(value) for name, value in (self.parameters or {}).items()}
        needs = self._arguments().get("baselines")
        if needs is not None and needs.default is inspect.Parameter.empty:
            given.setdefault("baselines", 0)
        if isinstance(given.get("baselines"), int | float):
            given["baselines"] = torch.full_like(images[:1], float(given["baselines"]))
        pixels = images.clone().requires_grad_()
        found: Tensor = method.attribute(pixels, target=targets, **{**own, **given})
        return found.detach()


def _tuples(value: Any) -> Any:
    """The lists of a yaml as tuples, which captum requires."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Without captum's warnings about hooks, which touch no module of the user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting .*hooks")
        yield
