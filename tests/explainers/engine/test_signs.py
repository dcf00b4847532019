"""What is claimed to be at least zero, against the values of real networks."""

import pytest
import timm
import torch
from networks import randomised
from relevance import wrong_signs

from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.graphs.capture import capture
from xai_sweep.models import Classifier

# The first five split signed tensors. Some networks of every style; the side of the image, as small
# as the network takes.
NETWORKS = {
    "inception_next_atto": 64,
    "cs3darknet_s": 64,
    "cspresnet50": 64,
    "mixnet_s": 64,
    "efficientvit_b0": 64,
    "convmixer_768_32": 64,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
    "deit_tiny_patch16_224": 224,
    "densenet121": 64,
    "dla46_c": 64,
    "dpn48b": 64,
    "edgenext_xx_small": 64,
    "efficientnet_b0": 64,
    "efficientformerv2_s0": 224,
    "fastvit_t8": 64,
    "gernet_s": 64,
    "ghostnet_050": 64,
    "hardcorenas_a": 64,
    "hgnetv2_b0": 64,
    "hrnet_w18_small": 64,
    "lcnet_035": 64,
    "mobilenetv3_small_050": 64,
    "mobilenetv4_conv_small_035": 64,
    "mobileone_s0": 64,
    "mobilevit_xxs": 64,
    "nf_regnet_b0": 64,
    "poolformer_s12": 64,
    "pvt_v2_b0": 64,
    "regnetx_002": 64,
    "regnety_002": 64,
    "repvit_m0_9": 64,
    "res2net50_14w_8s": 64,
    "resnest14d": 64,
    "resnet18": 64,
    "resnetv2_18": 64,
    "rexnet_100": 64,
    "selecsls42b": 64,
    "skresnet18": 64,
    "starnet_s1": 64,
    "swin_tiny_patch4_window7_224": 224,
    "tinynet_e": 64,
    "vgg11": 64,
    "vovnet39a": 64,
}


@pytest.mark.networks
@pytest.mark.parametrize("name", NETWORKS)
def test_no_value_that_is_claimed_to_be_at_least_zero_is_below(name: str) -> None:
    side = NETWORKS[name]
    classifier = Classifier(randomised(lambda: timm.create_model(name, num_classes=10)))
    images = 20 * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    proved, wrong = wrong_signs(classifier, images)
    assert not wrong
    assert proved


def test_the_inputs_of_a_rectified_network_are_proved() -> None:
    """A proof that never succeeds would be sound, too, and slow."""
    classifier = Classifier(randomised(lambda: timm.create_model("resnet18", num_classes=10)))
    flow = Flow(capture(classifier, torch.zeros(1, 3, 64, 64)), None, allows_gradient=False)
    convolutions = [node for node in flow.nodes if node.target is torch.ops.aten.conv2d.default]
    assert len(convolutions) == 20
    assert all(node.args[0] in flow.nonnegative for node in convolutions[1:])
