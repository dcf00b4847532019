"""The network with some of its layers replaced by noise."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import derive
from xai_sweep.study.case import Case, images
from xai_sweep.study.subject import Subject
from xai_sweep.transforms.base import Apply, Counterpart, Parameter, Transform
from xai_sweep.transforms.weights.layers import Layer, has_statistics, layers_in_order
from xai_sweep.transforms.weights.redrawn import Distribution, redrawn
