"""Grad-CAM's default map beside hooks on the usual layer, in networks of every style."""

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from xai_sweep.explainers import GradCam
from xai_sweep.models import Classifier

# Name (tv: of torchvision), image size, usual layer, and its axes: a map, channels last, or tokens
# behind so many others.
NETWORKS: list[tuple[str, int, str, str | int]] = [
    ("tv:vgg11", 224, "avgpool", "map"),
    ("tv:resnet18", 128, "layer4", "map"),
    ("tv:mobilenet_v2", 128, "features", "map"),
    ("tv:efficientnet_b0", 128, "features", "map"),
    ("tv:shufflenet_v2_x0_5", 128, "conv5", "map"),
    ("tv:regnet_y_400mf", 128, "trunk_output", "map"),
    ("tv:mnasnet0_5", 128, "layers", "map"),
    ("tv:convnext_tiny", 128, "features", "map"),
    ("tv:swin_t", 224, "norm", "last"),
    ("tv:swin_v2_t", 256, "norm", "last"),
    ("tv:vit_b_16", 224, "encoder.layers.encoder_layer_11.ln_1", 1),
    ("vit_tiny_patch16_224", 224, "blocks.11.norm1", 1),
    ("deit_tiny_distilled_patch16_224", 224, "blocks.11.norm1", 2),
    ("deit3_small_patch16_224", 224, "blocks.11.norm1", 1),
    ("convit_tiny", 224, "blocks.11.norm1", 1),
    ("pit_ti_224", 224, "transformers.2.blocks.3.norm1", 1),
    ("beit_base_patch16_224", 224, "blocks.11", 1),
    ("eva02_tiny_patch14_224", 224, "blocks.11", 1),
    ("cait_xxs24_224", 224, "blocks", 0),
    ("hiera_tiny_224", 224, "blocks.11", 0),
    ("mvitv2_tiny", 224, "norm", 0),
    ("levit_128s", 224, "stages", 0),
    ("twins_svt_small", 224, "norm", 0),
    ("efficientformer_l1", 224, "norm", 0),
    ("mixer_s32_224", 224, "norm", 0),
    ("gmixer_12_224", 224, "norm", 0),
    ("resmlp_12_224", 224, "norm", 0),
    ("swin_tiny_patch4_window7_224", 224, "norm", "last"),
    ("sequencer2d_s", 224, "norm", "last"),
    ("convnext_atto", 128, "stages", "map"),
    ("convnextv2_atto", 128, "stages", "map"),
    ("tiny_vit_5m_224", 224, "stages", "map"),
    ("poolformer_s12", 128, "stages", "map"),
    ("edgenext_xx_small", 128, "stages", "map"),
    ("mobilevit_xxs", 128, "final_conv", "map"),
    ("mobilevitv2_050", 128, "stages", "map"),
    ("pvt_v2_b0", 224, "stages", "map"),
    ("visformer_tiny", 224, "norm", "map"),
    ("focalnet_tiny_srf", 224, "norm", "map"),
    ("nfnet_f0", 128, "final_act", "map"),
    ("inception_v3", 128, "Mixed_7c", "map"),
    ("rexnet_100", 128, "features", "map"),
    ("lambda_resnet26t", 256, "stages", "map"),
    ("halonet26t", 256, "stages", "map"),
    ("botnet26t_256", 256, "stages", "map"),
    ("resnet50_clip", 224, "stages", "map"),
    ("densenet121", 128, "features", "map"),
    ("mobilenetv3_small_050", 128, "blocks", "map"),
    ("efficientnet_lite0", 128, "bn2", "map"),
]
TARGETS = torch.tensor([[3, 7], [1, 4]])


def as_map(value: Tensor, axes: str | int) -> Tensor:
    if axes == "map":
        return value
    if axes == "last":
        return value.permute(0, 3, 1, 2)
    patches = value[:, int(axes) :].transpose(1, 2)
    side = round(patches.shape[2] ** 0.5)
    return patches.unflatten(2, (side, side))


@pytest.mark.networks
@pytest.mark.parametrize(("name", "size", "layer", "axes"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_the_default_is_grad_cam_of_the_usual_layer(
    name: str, size: int, layer: str, axes: str | int
) -> None:
    of_torchvision = name.startswith("tv:")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make = torchvision.models.get_model if of_torchvision else timm.create_model
        module = make(name.removeprefix("tv:")).eval()
        # Some begin with a last layer of zeros.
        for weight in (each for each in module.parameters() if each.dim() == 2):
            weight.data = weight.data if weight.any() else 0.02 * torch.randn_like(weight)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = GradCam(polarity="both").explain(Classifier(module), images, TARGETS).heatmaps
    values: list[Tensor] = []
    # A copy, because a rectifier behind the layer may write into its output.
    hook = module.get_submodule(layer).register_forward_hook(
        lambda *each: values.append(each[2].clone()) or values[0]
    )
    picked = module(images).gather(1, TARGETS)
    hook.remove()
    maps = as_map(values[0], axes).detach()
    heatmaps = []
    for rank in range(2):
        (gradient,) = torch.autograd.grad(picked[:, rank].sum(), values[0], retain_graph=True)
        weights = as_map(gradient, axes).mean(dim=(-2, -1), keepdim=True)
        heatmaps.append((weights * maps).sum(dim=1))
    expected = F.interpolate(
        torch.stack(heatmaps, dim=1), size=(size, size), mode="bilinear", align_corners=False
    )
    assert expected.abs().amax() > 0
    difference = (found - expected).abs().amax() / expected.abs().amax()
    assert difference < 1e-3
