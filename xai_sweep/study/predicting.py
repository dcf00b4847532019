"""Lightning's loop over the images, and what it hands in after every batch."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, TypeAlias

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from xai_sweep.config.building import build
from xai_sweep.data.loader import ImageModule
from xai_sweep.store.writer import CellWriter
from xai_sweep.study.devices import kind
from xai_sweep.study.probe import Probe

# A curve by its number, and a magnitude.
Place: TypeAlias = tuple[int, float]


class HandIn(BasePredictionWriter):
    """Gives every comparison to the writer of its cell.

    Args:
        writers: by curve and magnitude.
        after: called after every batch.
    """

    def __init__(
        self, writers: Mapping[Place, CellWriter], after: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__("batch")
        self.writers = writers
        self.after = after
        self.told_to_stop = False

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take SIGTERM as a request to stop after this batch.

        Lightning only takes it down, and with several ranks first waits for all of them to get
        one. It puts back what was there before when it is done.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.told_to_stop = True

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Hand in what a batch gave."""
        for comparison in prediction:
            self.writers[comparison.curve, comparison.magnitude].add(
                comparison.image_id, comparison.rows, comparison.heatmaps
            )
        self.after()
        if self.told_to_stop:
            raise KeyboardInterrupt

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what there is: the next run goes on from there."""
        for writer in self.writers.values():
            writer.flush()


def predict(
    cfg: DictConfig,
    probe: Probe,
    images: ImageModule,
    callbacks: list[pl.Callback],
    devices: list[int],
) -> None:
    """Run the probe over the images; of several devices this process is one, see `in_ranks`.

    Raises:
        KeyboardInterrupt: the process was told to stop; what there was has been written.
        SystemExit: likewise, and SLURM has queued the job again.
    """
    # Lightning's remarks about devices and its tips are not for the reader of a sweep.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        # Jobs are made by the launcher, ranks by ourselves.
        warnings.filterwarnings("ignore", message="The `srun` command is available.*")
        trainer: pl.Trainer = build(
            cfg.trainer,
            strategy="ddp" if len(devices) > 1 else "auto",
            devices=devices if kind(cfg.trainer.accelerator) == "cuda" else len(devices),
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            inference_mode=False,  # gradients are what many explainers are made of
            # Lightning's guess would be SLURM wherever SLURM is, which asks for a task per device.
            plugins=[LightningEnvironment()],
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.predict(probe, datamodule=images, return_predictions=False)
        except SystemExit as leaving:
            # Lightning's answer to Ctrl+C, after which it ignores the next one; or submitit's
            # when SLURM's time is over, which has queued the job again.
            signal.signal(signal.SIGINT, on_interrupt)
            if isinstance(leaving.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
