"""Sets of images, and how they become batches."""

from xai_sweep.data.base import ImageFile, ImageSet, fingerprint
from xai_sweep.data.dataset import Batch, Images, Sample
from xai_sweep.data.reading import UnreadableImage, read_image
from xai_sweep.data.sets.folder import Folder
from xai_sweep.data.sets.samples import Samples

__all__ = [
    "Batch",
    "Folder",
    "ImageFile",
    "ImageSet",
    "Images",
    "Sample",
    "Samples",
    "UnreadableImage",
    "fingerprint",
    "read_image",
]
