"""Images for Lightning."""

import signal
import sys
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from xai_sweep.data.base import ImageFile
from xai_sweep.data.dataset import Images, Sample
from xai_sweep.models import Preprocess


class ImageModule(pl.LightningDataModule):
    """Batches of images in the order of the set.

    Args:
        files: the images.
        preprocess: Pillow image to a normalised tensor.
        batch_size: images read at once.
        workers: processes that read; 0 reads in this one.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocess: Preprocess,
        batch_size: int = 16,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.images = Images(files, preprocess)
        self.batch_size = batch_size
        self.workers = workers

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Every image once, in order."""
        return DataLoader(
            self.images,
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=self.images.collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals,
        )


def _leave_signals(worker: int) -> None:
    """SLURM sends a job's warning to all its processes; only the first may answer it."""
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
