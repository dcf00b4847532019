"""Explanation methods: values that, bound to a classifier, explain images."""

from xai_sweep.explainers.base import Accounted, Explain, Explainer
from xai_sweep.explainers.grad_cam import GradCam
from xai_sweep.explainers.guided_backprop import GuidedBackprop
from xai_sweep.explainers.lime import Lime
from xai_sweep.explainers.lime_package import LimePackage
from xai_sweep.explainers.lrp import LRP
from xai_sweep.explainers.saliency import Saliency
from xai_sweep.explainers.segmented import Segmented

__all__ = [
    "LRP",
    "Accounted",
    "Explain",
    "Explainer",
    "GradCam",
    "GuidedBackprop",
    "Lime",
    "LimePackage",
    "Saliency",
    "Segmented",
]
