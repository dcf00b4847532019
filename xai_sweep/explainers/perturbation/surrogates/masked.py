"""Class probabilities of images with some of their superpixels hidden."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from xai_sweep.graphs.quickest import quickest
from xai_sweep.models.classifier import Classifier, check_targets, evaluating

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
_DTYPES: Mapping[Precision, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Pixels per forward pass on a CPU in single precision: its caches hold the maps of a few photos, or
# of many thumbnails, and malloc returns larger blocks to the kernel each time.
_CPU_PIXELS, _CPU_LEAST, _CPU_MOST = 4 * 224 * 224, 4, 256
_CUDA_IMAGES = 256


def hidden(
    images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b h w"], superpixels: int
) -> Float[Tensor, "b c h w"]:
    """Images in which every superpixel has its own mean colour."""
    where = labels.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    colours = images.flatten(2).double()
    sums = colours.new_zeros(*images.shape[:2], superpixels).scatter_add_(2, where, colours)
    counts = torch.zeros_like(sums).scatter_add_(2, where, torch.ones_like(colours))
    means = (sums / counts.clamp(min=1)).to(images.dtype)
    return means.gather(2, where).view_as(images)


class MaskedPredictions:
    """Composes masked images on the device and predicts them; all images share the batches.

    Args:
        classifier: the network.
        precision: what it computes in. Anything but ``float32`` is left to autocast, and ignored
            for a network in double precision.
        at_once: masked images per forward pass; None for a number that is fast: about 4 photos of
            224 pixels on a CPU, 8 in half precision, and 256 on a GPU.
    """

    def __init__(self, classifier: Classifier, precision: Precision, at_once: int | None) -> None:
        self.classifier = classifier
        self.precision = _DTYPES[precision]
        self.at_once = at_once

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        painted: Float[Tensor, "b c h w"],
        labels: Int64[Tensor, "b h w"],
        masks: Bool[Tensor, "b n p"],
        targets: Int64[Tensor, "b k"],
    ) -> Float64[Tensor, "b n k"]:
        """The targets' probabilities for every image and mask.

        Args:
            images: in normalised space.
            painted: the images with everything hidden.
            labels: the superpixel of each pixel.
            masks: which superpixels are shown.
            targets: K classes of each image.

        Raises:
            InputError: a target that is not a class of the network.
        """
        count = masks.shape[1]
        samples = masks.flatten(0, 1)
        photos = images.contiguous(memory_format=torch.channels_last)
        network = quickest(self.classifier, photos, self.precision)
        layout, order = torch.contiguous_format, (0, 1, 2, 3)
        if network is not self.classifier.module:  # which may depend on the usual order in memory
            layout, order = torch.channels_last, (0, 2, 3, 1)
        # One label per value of an image, in the order of memory: the mask then has the layout of
        # the images, which is twice as fast as expanding it over the channels.
        where = labels[:, None].expand(images.shape).permute(order)
        shape, where = where.shape[1:], where.flatten(1)
        back = [order.index(axis) for axis in range(4)]
        images, painted = (each.contiguous(memory_format=layout) for each in (images, painted))
        size = min(self._size(images), len(samples))
        buffer = torch.empty((size, *images.shape[1:]), dtype=images.dtype, device=images.device)
        buffer = buffer.contiguous(memory_format=layout)
        found: list[Tensor] = []
        with torch.no_grad(), evaluating(self.classifier.module), self._casting(images):
            for start in range(0, len(samples), size):
                # The last batch overlaps the one before it: only batches of one size compute alike.
                start = min(start, len(samples) - size)
                first, last = start // count, (start + size - 1) // count
                of = torch.arange(start, start + size, device=images.device) // count
                rows = slice(first, first + 1) if first == last else of
                visible = samples[start : start + size].gather(1, where[rows].expand(size, -1))
                visible = visible.view(size, *shape).permute(back)
                torch.where(visible, images[rows], painted[rows], out=buffer)
                logits: Tensor = network(buffer)
                check_targets(targets, logits.shape[1])
                probabilities = self.classifier.probabilities(logits).gather(1, targets[of])
                found.append(probabilities[-(len(samples) - len(found) * size) :])
        return torch.cat(found).view(len(images), count, -1)

    def _size(self, images: Tensor) -> int:
        if self.at_once is not None:
            return self.at_once
        if images.device.type != "cpu":
            return _CUDA_IMAGES
        fitting = _CPU_PIXELS // (images.shape[2] * images.shape[3])
        if self.precision is not None:
            fitting *= 2
        return max(_CPU_LEAST, min(_CPU_MOST, fitting))

    def _casting(self, images: Tensor) -> AbstractContextManager[object]:
        if self.precision is None or images.dtype == torch.float64:
            return nullcontext()
        return torch.autocast(images.device.type, dtype=self.precision)
