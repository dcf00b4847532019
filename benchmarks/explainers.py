"""Grad-CAM, guided backpropagation, integrated gradients and occlusion beside other libraries.

    python benchmarks/explainers.py [--images 32] [--repeats N] [--cases grad_cam ...]

EfficientNet-Lite0 with its ImageNet weights, 224 pixels, one and four targets an image. Ours gets
batches of four images with all their targets, as a job begins with. captum and pytorch-grad-cam are
looped over images and targets, as their tutorials do; `_batched` gives them batches of four too,
where that is cheap to measure. All is timed in turn in one process; ratios are within a round. What
is paid once per network (loading, capturing) is paid before.

Guided backpropagation is timed with ReLU in the place of ReLU6, which the other libraries would
pass over without a word. Integrated gradients take 10 points instead of 50, occlusion squares of 64
pixels with stride 32, or the loops would take an hour. Maps are compared before they are timed.

Aims: never slower, at least 1.5 times faster for four targets.
"""

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Before the package, see there.
from common import machine, spread  # isort: skip

import captum.attr
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xai_sweep.data import Samples
from xai_sweep.explainers import (
    Explainer,
    GradCam,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
)
from xai_sweep.models import Classifier, load

BATCH = 4
TARGETS = (1, 4)
STEPS, WINDOW, STRIDE = 10, 64, 32

Method = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A method.

    Attributes:
        ours: as we have it.
        peers: other libraries', for images ``[B, C, H, W]`` and one target each ``[B]``.
        batched: peers that are given batches too.
        repeats: rounds, more where they are cheap.
        relu: whether ReLU6 is replaced.
        scaled: peers whose maps are scaled to [0, 1].
    """

    ours: Explainer
    peers: dict[str, Callable[[nn.Module], Method]]
    batched: tuple[str, ...]
    repeats: int
    relu: bool = False
    scaled: tuple[str, ...] = ()


def captum_grad_cam(module: nn.Module) -> Method:
    method = captum.attr.LayerGradCam(module, module.get_submodule("bn2"))

    def call(images: Tensor, targets: Tensor) -> Tensor:
        maps = method.attribute(images, target=targets, relu_attributions=True)
        size = (images.shape[-2], images.shape[-1])
        return captum.attr.LayerAttribution.interpolate(maps, size, "bilinear")[:, 0]

    return call


def grad_cam_grad_cam(module: nn.Module) -> Method:
    # Loaded as everybody does, with weights that take gradients; otherwise it does not work.
    network = copy.deepcopy(module).requires_grad_()
    method = GradCAM(model=network, target_layers=[network.get_submodule("bn2")])

    def call(images: Tensor, targets: Tensor) -> Tensor:
        wanted = [ClassifierOutputTarget(target) for target in targets.tolist()]
        return torch.from_numpy(method(input_tensor=images, targets=wanted))

    return call


def captum_guided(module: nn.Module) -> Method:
    method = captum.attr.GuidedBackprop(module)
    return lambda images, targets: method.attribute(
        images.clone().requires_grad_(), target=targets
    ).sum(dim=1)


def grad_cam_guided(module: nn.Module) -> Method:
    method = GuidedBackpropReLUModel(model=copy.deepcopy(module), device="cpu")

    def call(images: Tensor, targets: Tensor) -> Tensor:
        found = method(images.clone(), target_category=int(targets[0]))
        return torch.from_numpy(found).sum(dim=2)[None]

    return call


def captum_integrated(module: nn.Module) -> Method:
    method = captum.attr.IntegratedGradients(module)
    return lambda images, targets: (
        method.attribute(images, target=targets, n_steps=STEPS).float().sum(dim=1)
    )


def captum_occlusion(module: nn.Module) -> Method:
    method = captum.attr.Occlusion(module)

    def call(images: Tensor, targets: Tensor) -> Tensor:
        maps = method.attribute(
            images,
            target=targets,
            sliding_window_shapes=(3, WINDOW, WINDOW),
            strides=(3, STRIDE, STRIDE),
            baselines=0,
        )
        return maps[:, 0]  # the same in all channels, which are covered together

    return call


CASES = {
    "grad_cam": Case(
        GradCam(),
        {"captum": captum_grad_cam, "pytorch_grad_cam": grad_cam_grad_cam},
        ("captum", "pytorch_grad_cam"),
        5,
        scaled=("pytorch_grad_cam",),
    ),
    "guided_backprop": Case(
        GuidedBackprop(),
        {"captum": captum_guided, "pytorch_grad_cam": grad_cam_guided},
        ("captum",),
        3,
        relu=True,
    ),
    "integrated_gradients": Case(
        IntegratedGradients(steps=STEPS), {"captum": captum_integrated}, (), 2
    ),
    "occlusion": Case(Occlusion(WINDOW, STRIDE), {"captum": captum_occlusion}, (), 2),
}


def photos(classifier: Classifier, count: int) -> Tensor:
    """The sample photos, moved along to be as many as are wanted."""
    found = [
        classifier.preprocess(Image.open(file.path).convert("RGB")) for file in Samples().files()
    ]
    return torch.stack([found[n % len(found)].roll(17 * n, dims=2) for n in range(count)])


def with_relu(module: nn.Module) -> nn.Module:
    """A copy with ReLU in the place of ReLU6, not in place, which captum cannot do with."""
    module = copy.deepcopy(module)
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.ReLU6 | nn.ReLU):
                setattr(part, name, nn.ReLU())
    return module


def ours(case: Case, classifier: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """All targets of a batch at once."""
    parts = zip(images.split(BATCH), targets.split(BATCH), strict=True)
    return torch.cat([case.ours.explain(classifier, *part).heatmaps for part in parts])


def looped(method: Method, images: Tensor, targets: Tensor, size: int = 1) -> Tensor:
    """One target after the other."""
    parts = zip(images.split(size), targets.split(size), strict=True)
    return torch.cat(
        [torch.stack([method(some, k) for k in at.unbind(1)], dim=1) for some, at in parts]
    )


def measure(
    case: Case, classifier: Classifier, images: Tensor, targets: Tensor, repeats: int
) -> dict[str, dict[str, object]]:
    """Seconds of everybody in turn, and how many times faster ours is than each."""
    if case.relu:
        classifier = Classifier(with_relu(classifier.module), classifier.mean, classifier.std)
    calls: dict[str, Callable[[slice], Tensor]] = {
        "ours": lambda some: ours(case, classifier, images[some], targets[some])
    }
    for name, make in case.peers.items():
        method = make(classifier.module)
        calls[name] = lambda some, method=method: looped(method, images[some], targets[some])
        if name in case.batched:
            calls[f"{name}_batched"] = lambda some, method=method: looped(
                method, images[some], targets[some], BATCH
            )
    few = slice(0, BATCH)
    expected = calls["ours"](few)
    for name, call in calls.items():
        agree(name, call(few), expected, name.removesuffix("_batched") in case.scaled)
    rounds = []
    for _ in range(repeats or case.repeats):
        rounds.append({name: seconds(call) for name, call in calls.items()})
    return {
        name: {
            "seconds": spread([each[name] for each in rounds]),
            "ours_times_faster": spread([each[name] / each["ours"] for each in rounds]),
        }
        for name in calls
    }


def seconds(call: Callable[[slice], Tensor]) -> float:
    start = time.perf_counter()
    call(slice(None))
    return time.perf_counter() - start


def agree(name: str, found: Tensor, expected: Tensor, scaled: bool) -> None:
    """Refuse to time what computes something else."""
    if scaled:  # by each map's smallest and largest value, resized by another library
        pairs = torch.stack([found.flatten(), normalised(expected).flatten()])
        if torch.corrcoef(pairs)[0, 1] < 0.99:
            raise ValueError(f"{name} gave other maps than ours")
    # Single precision alone moves integrated gradients by 0.3 % from those in double precision.
    elif (found - expected).norm() > 1e-2 * expected.norm():
        raise ValueError(f"{name} gave other maps than ours")


def normalised(maps: Tensor) -> Tensor:
    least = maps.amin(dim=(2, 3), keepdim=True)
    return (maps - least) / (maps.amax(dim=(2, 3), keepdim=True) - least).clamp(min=1e-7)


def main() -> None:
    """Measure and write benchmarks/results/explainers.json; cases not run keep what it has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=0, help="0: as many as fit, by case")
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    # The others remark on hooks and on copies.
    warnings.simplefilter("ignore")
    classifier = load("efficientnet_lite0")
    images = photos(classifier, words.images)
    with torch.no_grad():
        best = classifier.module(images).topk(max(TARGETS)).indices
    target = Path(__file__).parent / "results" / "explainers.json"
    found = json.loads(target.read_text()) if target.exists() else {}
    found |= {
        "what": f"EfficientNet-Lite0, {words.images} photos of 224 px, ours in batches of {BATCH}",
        "integrated_gradients_steps": STEPS,
        "occlusion": {"window": WINDOW, "stride": STRIDE},
        **machine(),
    }
    for name in words.cases:
        for count in TARGETS:
            times = measure(CASES[name], classifier, images, best[:, :count], words.repeats)
            found.setdefault("times", {}).setdefault(name, {})[f"{count} targets"] = times
            for who, figures in times.items():
                ratio, duration = figures["ours_times_faster"], figures["seconds"]
                print(
                    f"{name:22}{count} targets  {who:26}{duration['median']:8.2f} s  "
                    f"{ratio['median']:6.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                    flush=True,
                )
        if not words.dry:
            target.parent.mkdir(exist_ok=True)
            target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
