"""Every method of the table of coverage against its oracle, on one network."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import coverage_oracles as oracles
import torch
from torch import Tensor, fx, nn

from xai_sweep.config.presets import preset
from xai_sweep.core.errors import InputError
from xai_sweep.explainers import (
    LRP,
    DeepLift,
    GradCam,
    GuidedBackprop,
    IntegratedGradients,
    Lime,
    PatternAttribution,
)
from xai_sweep.explainers.perturbation.superpixels import SuperpixelFinder
from xai_sweep.explainers.relevance.engine import Propagation, Relevance, make_plan
from xai_sweep.explainers.relevance.lrp import _bounds
from xai_sweep.explainers.relevance.pattern_passes import layers
from xai_sweep.graphs.capture import capture
from xai_sweep.models import Classifier

ZERO = [{"rule": "zero"}]
# Largest difference to the oracle, in units of its largest value.
CLOSE = 1e-6
STEPS = 4


@dataclass(frozen=True)
class Found:
    """What became of one method on one network.

    Attributes:
        state: ``right``, ``refused``, ``unchecked`` or ``wrong``.
        why: the line of the refusal, or what was compared.
    """

    state: str
    why: str = ""


SAME = Found("right", "as lrp: every operation has a rule")


class WrongError(Exception):
    """A result that is not what it should be."""


def compare(what: str, ours: Tensor, theirs: Tensor, close: float = CLOSE) -> str:
    """Raise `WrongError` unless all maps are equal to a part of their largest value."""
    if not bool(ours.isfinite().all()):
        raise WrongError(f"{what}: not finite")
    largest = theirs.abs().amax(dim=(-2, -1))
    if not bool((largest > 0).all()):
        raise WrongError(f"{what}: the oracle's map is empty")
    error = float(((ours - theirs).abs().amax(dim=(-2, -1)) / largest).amax())
    if not error <= close:
        raise WrongError(f"{what}: differs by {error:.1e} of the largest value")
    return f"{what} to {error:.0e}"


def checks(module: nn.Module, x: Tensor, side: int) -> dict[str, dict[str, str]]:
    """The state of every method."""
    with torch.no_grad():
        logits = module(x)
    targets = logits.abs().topk(2, dim=1).indices
    subject = Subject(module, Classifier(module, size=side), x, targets, logits.gather(1, targets))
    found = {}
    for name, check in METHODS.items():
        try:
            result = check(subject)
        except InputError as error:
            result = Found("refused", str(error))
        except WrongError as error:
            result = Found("wrong", str(error))
        except Exception as error:  # a traceback is wrong, too, unless the limit of memory is met
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            result = Found("not checked" if "allocate memory" in text else "wrong", text)
        found[name] = found["lrp"] if result is SAME and "lrp" in found else asdict(result)
    return found


@dataclass(frozen=True, eq=False)
class Subject:
    """A network in float64 with two images, two targets each and their logits."""

    module: nn.Module
    classifier: Classifier
    x: Tensor
    targets: Tensor
    logits: Tensor

    def propagation(self, fast: bool, **parameters: Any) -> Propagation:
        """LRP by its fast forms, or by the equations of its rules."""
        captured = capture(self.classifier, self.x)
        bounds = _bounds(self.classifier.normalisation, self.x)
        composite = LRP(**parameters).composite()
        return Propagation(make_plan(captured, composite, bounds, None, fast))


def shares(found: Relevance, logits: Tensor, what: str) -> None:
    """Check that maps and accounts sum to the logit."""
    assert found.absorbed is not None
    assert found.lost is not None
    arrived = found.maps.double().flatten(2).sum(dim=2)
    whole = (arrived + found.absorbed + found.lost) / logits
    if not bool(((whole - 1).abs() < 1e-4).all()):
        raise WrongError(f"{what}: the shares sum to {float(whole.flatten()[0]):.4g}")


def lrp(subject: Subject, unsupported: str = "error") -> Found:
    """LRP-0 is input times gradient; all relevance is accounted for; equations give the same."""
    x, targets, logits = subject.x, subject.targets, subject.logits
    zero = subject.propagation(True, rules=ZERO, unsupported=unsupported)
    found = zero(x, targets, accounts=True)
    if not torch.allclose(found.logits, logits, rtol=1e-9, atol=1e-9 * float(logits.abs().amax())):
        raise WrongError("the plan computes other logits")
    shares(found, logits, "LRP-0")
    maps = found.maps.sum(dim=2)
    linear = oracles.input_times_gradient(
        oracles.Linearised(capture(subject.classifier, x).graph).run, x, targets
    )
    compared = [compare("LRP-0 = input x gradient", maps, linear)]
    never_negative(zero, x)
    for name, rules in (("default", LRP().rules), ("epsilon_plus", preset("epsilon_plus"))):
        both = [
            subject.propagation(fast, rules=rules, unsupported=unsupported)(x, targets, True)
            for fast in (True, False)
        ]
        shares(both[0], logits, name)
        compared.append(compare(name, *(each.maps.sum(dim=2) for each in both)))
    passed = zero.plan.unsupported
    by = f"{len(passed)} operations by their gradient; " if passed else ""
    return Found("right", by + "; ".join(compared))


def never_negative(propagation: Propagation, x: Tensor) -> None:
    """Check the signs that the engine claims against the values of these images."""
    flow = propagation.plan.flow

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in flow.nonnegative and isinstance(value, Tensor) and bool((value < 0).any()):
                raise WrongError(f"{n.target} is claimed never to be negative")
            return value

    with torch.no_grad():
        Watch(next(iter(flow.nodes)).graph.owning_module).run(x)


def grad_cam(subject: Subject) -> Found:
    """The map at our layer is Grad-CAM at one of the modules that can be hooked."""
    found = GradCam(polarity="both").explain(subject.classifier, subject.x, subject.targets)
    usual = oracles.usual_maps(subject.module, subject.x, subject.targets)
    size = subject.x.shape[-2:]
    errors = []
    for maps in usual:
        enlarged = nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        errors.append(float((found.heatmaps - enlarged).abs().amax() / enlarged.abs().amax()))
    best = min(errors, default=float("nan"))
    if not best <= CLOSE:
        raise WrongError(f"differs by {best:.1e} from the nearest of {len(errors)} hooked maps")
    return Found("right", "hooks on modules")


def guided_backprop(subject: Subject) -> Found:
    """The network itself with its rectifiers replaced."""
    found = GuidedBackprop().explain(subject.classifier, subject.x, subject.targets)
    theirs, rectifiers = oracles.guided(subject.module, subject.x, subject.targets)
    if not rectifiers:
        raise WrongError("the plain gradient, without a word: there is no rectifier")
    what = f"{rectifiers} rectifiers replaced"
    return Found("right", compare(what, found.heatmaps, theirs))


def deep_lift(subject: Subject) -> Found:
    """The map sums to the difference of the logits."""
    found = DeepLift().explain(subject.classifier, subject.x, subject.targets)
    with torch.no_grad():
        start = subject.module(torch.zeros_like(subject.x)).gather(1, subject.targets)
    expected = subject.logits - start
    sums = found.heatmaps.sum(dim=(2, 3))
    error = float(((sums - expected).abs() / expected.abs()).amax())
    if not error <= 1e-4:
        raise WrongError(f"sums to the difference of the logits but for {error:.1e} of it")
    return Found("right", f"sums to the difference of the logits to {error:.0e}")


def integrated_gradients(subject: Subject) -> Found:
    """As captum's."""
    method = IntegratedGradients(steps=STEPS)
    found = method.explain(subject.classifier, subject.x, subject.targets)
    theirs = oracles.integrated(subject.module, subject.x, subject.targets, STEPS)
    return Found("right", compare("captum", found.heatmaps, theirs))


def lime(subject: Subject) -> Found:
    """The package's definition, on the same masks, by the network itself; in single precision."""
    module, samples = subject.module.float(), 24
    try:
        x, targets = subject.x[:1].float(), subject.targets[:1]
        explainer = Lime(
            segmentation="grid", num_samples=samples, options={"rows": 3, "columns": 3}
        )
        labels = SuperpixelFinder("grid", {"rows": 3, "columns": 3})(x)
        count = int(labels.amax()) + 1
        masks = torch.rand(1, samples, count, generator=torch.Generator().manual_seed(3)) < 0.5
        ours = explainer.surrogates(subject.classifier, x, targets, given_masks=masks)
        painted = torch.stack(
            [x[0, :, labels[0] == number].mean(dim=1) for number in range(count)]
        )[labels[0]].permute(2, 0, 1)
        shown = masks[0][:, labels[0]][:, None]
        with torch.no_grad():
            scores = module(torch.where(shown, x, painted[None])).double().softmax(dim=1)
        theirs = torch.stack(
            [
                torch.from_numpy(
                    oracles.surrogate(
                        masks[0].double().numpy(), scores[:, target].numpy(), explainer.kernel_width
                    )
                )
                for target in targets[0]
            ]
        )
        error = float((ours.coefficients[0] - theirs).abs().amax() / theirs.abs().amax())
        if not error <= 1e-2:
            raise WrongError(f"coefficients differ by {error:.1e} of the largest")
        return Found("right", f"ridge of the package to {error:.0e}")
    finally:
        module.double()


def pattern_attribution(subject: Subject) -> Found:
    """The gradient of the network itself through weight times pattern, batchnorms made neutral."""
    for part in subject.module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.zero_()
            part.running_var.fill_(1 - part.eps)
            part.weight.data.fill_(1) if part.affine else None
            part.bias.data.zero_() if part.affine else None
    method = PatternAttribution().fit(subject.classifier, [subject.x])
    ours = method.explain(subject.classifier, subject.x, subject.targets).heatmaps
    weights = [
        weight * method.patterns.tensors[name]
        for name, weight in pattern_weights(subject, method).items()
    ]
    convolutions = oracles.weight_shapes(subject.module, subject.x)
    if convolutions != [each.shape for each in weights]:
        return Found("not checked", "the oracle needs layers in the order in which they run")
    theirs = oracles.gradient_through(subject.module, weights, subject.x, subject.targets)
    with torch.no_grad():
        logits = subject.module(subject.x).gather(1, subject.targets)
    return Found("right", compare("other weights", ours, theirs * logits[:, :, None, None]))


def pattern_weights(subject: Subject, method: PatternAttribution) -> dict[str, Tensor]:
    """The weights of all layers, named as the patterns are, in the order in which they run."""
    plan = subject.propagation(True, rules=ZERO, unsupported="gradient").plan
    return {name: layer.site.layer.weight for name, layer in layers(plan).items()}


def lrp_gradient(subject: Subject) -> Found:
    """As `lrp`, what has no rule by its gradient; the same where everything has one."""
    try:
        subject.propagation(True, rules=ZERO)
    except InputError:
        return lrp(subject, "gradient")
    return SAME


METHODS: Mapping[str, Callable[[Subject], Found]] = {
    "lrp": lrp,
    "lrp unsupported=gradient": lrp_gradient,
    "grad_cam": grad_cam,
    "guided_backprop": guided_backprop,
    "deep_lift": deep_lift,
    "integrated_gradients": integrated_gradients,
    "lime": lime,
    "pattern_attribution": pattern_attribution,
}
