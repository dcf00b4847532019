"""Explanation methods: values that, bound to a classifier, explain images."""

from xai_sweep.explainers.b_lrp import BLRP
from xai_sweep.explainers.base import Accounted, Explain, Explainer
from xai_sweep.explainers.cam import Cam
from xai_sweep.explainers.captum_methods import Captum
from xai_sweep.explainers.controls import Constant, Random, Sobel
from xai_sweep.explainers.deconvnet import Deconvnet
from xai_sweep.explainers.deep_lift import DeepLift
from xai_sweep.explainers.feature_ablation import FeatureAblation
from xai_sweep.explainers.fittable import Fittable
from xai_sweep.explainers.grad_cam import GradCam
from xai_sweep.explainers.grad_cam_plus_plus import GradCamPlusPlus
from xai_sweep.explainers.gradient_shap import GradientShap
from xai_sweep.explainers.guided_backprop import GuidedBackprop
from xai_sweep.explainers.guided_grad_cam import GuidedGradCam
from xai_sweep.explainers.input_x_gradient import InputXGradient
from xai_sweep.explainers.integrated_gradients import IntegratedGradients
from xai_sweep.explainers.kernel_shap import KernelShap
from xai_sweep.explainers.lime import Lime
from xai_sweep.explainers.lime_package import LimePackage
from xai_sweep.explainers.lrp import LRP
from xai_sweep.explainers.occlusion import Occlusion
from xai_sweep.explainers.pattern_attribution import PatternAttribution
from xai_sweep.explainers.pattern_net import PatternNet
from xai_sweep.explainers.rde import RDE
from xai_sweep.explainers.saliency import Saliency
from xai_sweep.explainers.segmented import Segmented
from xai_sweep.explainers.smooth_grad import SmoothGrad

__all__ = [
    "BLRP",
    "LRP",
    "RDE",
    "Accounted",
    "Cam",
    "Captum",
    "Constant",
    "Deconvnet",
    "DeepLift",
    "Explain",
    "Explainer",
    "FeatureAblation",
    "Fittable",
    "GradCam",
    "GradCamPlusPlus",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "Lime",
    "LimePackage",
    "Occlusion",
    "PatternAttribution",
    "PatternNet",
    "Random",
    "Saliency",
    "Segmented",
    "SmoothGrad",
    "Sobel",
]
