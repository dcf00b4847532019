"""Explanation methods: values that, bound to a classifier, explain images."""

from xai_sweep.explainers.base import Accounted, Explain, Explainer
from xai_sweep.explainers.fittable import Fittable
from xai_sweep.explainers.grad_cam import GradCam
from xai_sweep.explainers.guided_backprop import GuidedBackprop
from xai_sweep.explainers.lrp import LRP
from xai_sweep.explainers.pattern_attribution import PatternAttribution
from xai_sweep.explainers.pattern_net import PatternNet
from xai_sweep.explainers.saliency import Saliency

__all__ = [
    "LRP",
    "Accounted",
    "Explain",
    "Explainer",
    "Fittable",
    "GradCam",
    "GuidedBackprop",
    "PatternAttribution",
    "PatternNet",
    "Saliency",
]
