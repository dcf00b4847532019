"""The networks of the table of coverage: the smallest of every family, with random weights."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

CLASSES = 10
SIDES = (64, 96, 128, 192, 224, 256, 384)
# The blocks of a deep network are alike: two of them show what all of them do.
FEWER: Mapping[str, dict[str, Any]] = {"deepseek_vit": {"depth": 2}}
# Further networks of files that hold several architectures, by what they are made of.
FURTHER = (
    "timm/resnet18",
    "timm/resnetblur18",
    "timm/seresnet18",
    "timm/ecaresnet26t",
    "timm/resnetaa34d",
    "timm/repvgg_a0",
    "timm/gernet_s",
    "timm/regnetz_b16",
    "timm/mobileone_s0",
    "timm/lambda_resnet26rpt_256",
    "timm/halonet26t",
    "timm/botnet26t_256",
    "timm/convnextv2_atto",
    "timm/cspresnet50",
    "timm/cs3darknet_s",
    "timm/darknet17",
    "timm/efficientnet_lite0",
    "timm/efficientnetv2_rw_t",
    "timm/mixnet_s",
    "timm/tf_efficientnet_b0",
    "timm/mobilenetv2_050",
    "timm/edgenext_xx_small",
    "timm/regnetx_002",
    "timm/regnety_002",
    "timm/vgg11_bn",
    "timm/vit_tiny_patch16_224",
    "timm/vit_base_patch16_siglip_gap_224",
    "timm/nf_resnet26",
    "timm/eca_nfnet_l0",
    "timm/dm_nfnet_f0",
    "timm/resnetv2_50x1_bit",
    "timm/gmlp_s16_224",
    "timm/resmlp_12_224",
    "timm/mixer_s16_224",
    "timm/maxvit_rmlp_pico_rw_256",
    "timm/coatnet_pico_rw_224",
    "timm/poolformerv2_s12",
    "timm/caformer_s18",
)


@dataclass(frozen=True)
class Case:
    """A network of the table.

    Attributes:
        name: source and name, ``timm/resnet18``.
        family: the file that defines it.
        parameters: how many, with 1,000 classes.
        side: height and width of the images: as few pixels as it takes.
        arguments: of the constructor.
    """

    name: str
    family: str
    parameters: int
    side: int
    arguments: dict[str, Any]


def families() -> Iterator[Case]:
    """The smallest member of every model file of timm and torchvision, and `FURTHER`."""
    for module in timm.list_modules():
        yield smallest("timm", module, timm.list_models(module=module))
    files: dict[str, list[str]] = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        module = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        files.setdefault(module, []).append(name)
    for module, names in files.items():
        yield smallest("torchvision", module, names)
    for name in FURTHER:
        short = name.partition("/")[2]
        module = timm.model_entrypoint(short).__module__.rpartition(".")[2]
        yield smallest("timm", module, [short])


def smallest(source: str, family: str, names: list[str]) -> Case:
    """The member with the fewest parameters, found without memory for any."""
    count = weights_of if source == "timm" else published
    counts = {name: count(name) for name in names}
    name = min(counts, key=lambda each: (counts[each], each))
    arguments = {"num_classes": CLASSES, **FEWER.get(family, {})}
    side, arguments = smallest_side(f"{source}/{name}", arguments)
    return Case(f"{source}/{name}", family, counts[name], side, arguments)


def weights_of(name: str) -> int:
    """How many parameters a network of timm has."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(each.numel() for each in built(f"timm/{name}", {}).parameters())


def published(name: str) -> int:
    """How many parameters a network of torchvision has, as its weights say."""
    weights = next(iter(torchvision.models.get_model_weights(name)))
    return int(weights.meta["num_params"])


def smallest_side(name: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The smallest image that the network takes, and the arguments with which it does."""
    for side in SIDES:
        for sized in (arguments | {"img_size": side}, arguments | {"image_size": side}, arguments):
            if any(takes(name, sized, side, device) for device in ("meta", "cpu")):
                return side, sized
    raise ValueError(f"{name} takes none of the sizes {SIDES}")


def takes(name: str, arguments: Mapping[str, Any], side: int, device: str) -> bool:
    """Whether the network runs on images of this size."""
    try:
        with torch.device(device), torch.no_grad():
            built(name, arguments).eval()(torch.empty(2, 3, side, side))
    except Exception:  # whatever it says
        return False
    return True


def built(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with the weights that its constructor gives it."""
    source, _, short = name.partition("/")
    if source == "timm":
        return timm.create_model(short, pretrained=False, **arguments)
    taken = {"googlenet", "inception_v3"}
    given = {"init_weights": False, "aux_logits": False} if short in taken else {}
    return torchvision.models.get_model(short, weights=None, **given, **arguments)


def network(case: Case) -> nn.Module:
    """The network in evaluation mode: nothing is constant, dead, or at its initial zero.

    Scales of layers that begin at 0 or 1e-6 would hide their branches, and batchnorm without
    statistics would let values explode: statistics are those of random batches.
    """
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = built(case.name, case.arguments)
    for parameter in module.parameters():
        vary(parameter.data)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    if norms:
        with torch.no_grad():
            for _ in range(2):
                module(torch.randn(8, 3, case.side, case.side))
    return module.eval()


def vary(values: Tensor) -> None:
    """Give a parameter that is the same everywhere random values."""
    first = values.flatten()[0]
    if bool((values == first).all()) and (values.numel() > 1 or first == 0):
        scale = 0.2 if values.dim() == 1 else 0.1
        around = 1.0 if float(first) == 1 else 0.0 if float(first) == 0 else 0.5
        values.copy_(around + scale * torch.randn_like(values))


def images(case: Case, count: int = 2) -> Tensor:
    """Smooth random images, ``float64[count, 3, side, side]``, in normalised space."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    fine = torch.randn(count, 3, case.side, case.side, generator=generator, dtype=torch.float64)
    size = (case.side, case.side)
    return nn.functional.interpolate(coarse, size, mode="bicubic") + 0.5 * fine
