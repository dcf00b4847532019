"""Transforms of images: geometric ones move the pixels, photometric ones change their values."""

from xai_sweep.transforms.base import Geometric, Photometric, Transform
from xai_sweep.transforms.gaussian_noise import GaussianNoise
from xai_sweep.transforms.identity import Identity
from xai_sweep.transforms.rotation import Rotation

__all__ = ["GaussianNoise", "Geometric", "Identity", "Photometric", "Rotation", "Transform"]
