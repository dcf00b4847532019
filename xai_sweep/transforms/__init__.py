"""Transforms of images: geometric ones move the pixels, photometric ones change their values."""

from xai_sweep.transforms.base import Geometric, Photometric, Transform
from xai_sweep.transforms.geometric.rotation import Rotation
from xai_sweep.transforms.photometric.gaussian_noise import GaussianNoise
from xai_sweep.transforms.photometric.identity import Identity

__all__ = ["GaussianNoise", "Geometric", "Identity", "Photometric", "Rotation", "Transform"]
