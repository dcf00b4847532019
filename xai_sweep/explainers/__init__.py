"""Explanation methods: values that, bound to a classifier, explain images."""

from xai_sweep.explainers.adapters.captum_methods import Captum
from xai_sweep.explainers.adapters.lime_package import LimePackage
from xai_sweep.explainers.base import Accounted, Explain, Explainer
from xai_sweep.explainers.cam.cam import Cam
from xai_sweep.explainers.cam.grad_cam import GradCam
from xai_sweep.explainers.cam.grad_cam_plus_plus import GradCamPlusPlus
from xai_sweep.explainers.cam.guided_grad_cam import GuidedGradCam
from xai_sweep.explainers.controls.null import Constant, Random, Sobel
from xai_sweep.explainers.fittable import Fittable
from xai_sweep.explainers.gradient.deconvnet import Deconvnet
from xai_sweep.explainers.gradient.gradient_shap import GradientShap
from xai_sweep.explainers.gradient.guided_backprop import GuidedBackprop
from xai_sweep.explainers.gradient.input_x_gradient import InputXGradient
from xai_sweep.explainers.gradient.integrated_gradients import IntegratedGradients
from xai_sweep.explainers.gradient.saliency import Saliency
from xai_sweep.explainers.gradient.smooth_grad import SmoothGrad
from xai_sweep.explainers.perturbation.feature_ablation import FeatureAblation
from xai_sweep.explainers.perturbation.kernel_shap import KernelShap
from xai_sweep.explainers.perturbation.lime import Lime
from xai_sweep.explainers.perturbation.occlusion import Occlusion
from xai_sweep.explainers.perturbation.rde import RDE
from xai_sweep.explainers.relevance.b_lrp import BLRP
from xai_sweep.explainers.relevance.deep_lift import DeepLift
from xai_sweep.explainers.relevance.lrp import LRP
from xai_sweep.explainers.relevance.pattern_attribution import PatternAttribution
from xai_sweep.explainers.relevance.pattern_net import PatternNet
from xai_sweep.explainers.segmented import Segmented

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
