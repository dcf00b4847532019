"""Images for Lightning."""

import signal
import sys
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from typing_extensions import override

from xai_sweep.data.base import ImageFile
from xai_sweep.data.dataset import Images, LoadedImage
from xai_sweep.models import Preprocess


class ImageModule(pl.LightningDataModule):
    """Batches of images in the order of the set, with annotations where there are boxes.

    Args:
        files: the images.
        preprocess: a picture to a normalised tensor.
        batch_size: images read at once.
        workers: processes that read; 0 reads in this one.
        whole: the set to which the files belong, see `Images`.
        channels: of the network, see `Images`.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocess: Preprocess,
        batch_size: int = 16,
        workers: int = 0,
        whole: Sequence[ImageFile] | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.images = Images(files, preprocess, whole, annotated=True, channels=channels)
        self.batch_size = batch_size
        self.workers = workers

    @override
    def predict_dataloader(self) -> DataLoader[LoadedImage]:
        return DataLoader(
            self.images,
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=self.images.collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_ignore_warning_of_slurm,
        )


def _ignore_warning_of_slurm(worker: int) -> None:
    """SLURM sends a job's warning to all its processes; only the first may answer it."""
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
