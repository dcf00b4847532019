"""Classifiers: networks with their preprocessing and class names, and where they come from."""

from xai_sweep.models.classifier import (
    Classifier,
    Normalisation,
    evaluating,
    grey_images,
)
from xai_sweep.models.loading import load
from xai_sweep.models.preprocessing import Picture, Preprocess
from xai_sweep.models.source import ModelSource

__all__ = [
    "Classifier",
    "ModelSource",
    "Normalisation",
    "Picture",
    "Preprocess",
    "evaluating",
    "grey_images",
    "load",
]
