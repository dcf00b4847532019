"""A network's operations: each computes its value, and sends relevance back to its inputs."""

from xai_sweep.explainers.relevance.engine.steps.elementwise import (
    Activation,
    Factor,
    Shift,
)
from xai_sweep.explainers.relevance.engine.steps.gradient import Gradient
from xai_sweep.explainers.relevance.engine.steps.layer import Layer
from xai_sweep.explainers.relevance.engine.steps.moving import Concatenate, Move, Pad
from xai_sweep.explainers.relevance.engine.steps.normalising import Normalise
from xai_sweep.explainers.relevance.engine.steps.step import Compute, Step
from xai_sweep.explainers.relevance.engine.steps.sums import Sum
from xai_sweep.explainers.relevance.engine.steps.winning import Extreme, Larger, MaxPool, Winner

__all__ = [
    "Activation",
    "Compute",
    "Concatenate",
    "Extreme",
    "Factor",
    "Gradient",
    "Larger",
    "Layer",
    "MaxPool",
    "Move",
    "Normalise",
    "Pad",
    "Shift",
    "Step",
    "Sum",
    "Winner",
]
