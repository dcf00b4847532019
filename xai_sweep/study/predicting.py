"""Lightning's loop over the images, and the writer that takes the rows of every batch."""

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
from typing_extensions import override

from xai_sweep.config.building import build
from xai_sweep.data.loader import ImageModule
from xai_sweep.store.writer import CellWriter
from xai_sweep.study.devices import kind
from xai_sweep.study.probe import Probe

# A cell of a job: its curve by number, and its magnitude.
CellIndex: TypeAlias = tuple[int, float]


class RowWriter(BasePredictionWriter):
    """Gives every comparison to the writer of its cell.

    Args:
        writers: by curve and magnitude.
        after_batch: called after every batch.
    """

    def __init__(
        self,
        writers: Mapping[CellIndex, CellWriter],
        after_batch: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__("batch")
        self.writers = writers
        self.after_batch = after_batch
        self.must_stop = False

    @override
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # SIGTERM is a request to stop after this batch, of which Lightning's own handler takes no
        # notice while it predicts. Lightning restores the handler from before when it is done.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._request_stop)

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.must_stop = True

    @override
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
        for comparison in prediction:
            self.writers[comparison.curve, comparison.magnitude].add(
                comparison.image_id, comparison.rows, comparison.heatmaps
            )
        self.after_batch()
        if self.must_stop:
            raise KeyboardInterrupt

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # The next run continues after what is written here.
        for writer in self.writers.values():
            writer.flush()


def predict(
    cfg: DictConfig,
    probe: Probe,
    images: ImageModule,
    callbacks: list[pl.Callback],
    device: int = 0,
) -> None:
    """Run the probe over the images, on one device.

    Args:
        cfg: the whole configuration.
        probe: what is done with a batch.
        images: the images of this process.
        callbacks: of the trainer.
        device: the number of the GPU; of no meaning on a CPU.

    Raises:
        KeyboardInterrupt: the process was told to stop; the rows until then have been written.
        SystemExit: likewise, and SLURM has queued the job again.
    """
    # Lightning's remarks about devices and its tips are not for the reader of a sweep.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        # Jobs are started by the launcher, their processes by ourselves.
        warnings.filterwarnings("ignore", message="The `srun` command is available.*")
        trainer: pl.Trainer = build(
            cfg.trainer,
            strategy="auto",
            devices=[device] if kind(cfg.trainer.accelerator) == "cuda" else 1,
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            inference_mode=False,  # many explainers need gradients
            # One process, wherever it runs: inside SLURM Lightning would want a task per device.
            plugins=[LightningEnvironment()],
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.predict(probe, datamodule=images, return_predictions=False)
        except SystemExit as leaving:
            # Either Lightning's answer to Ctrl+C, after which it ignores the next one, or
            # submitit's when the time of a SLURM job is over and the job is queued again.
            signal.signal(signal.SIGINT, on_interrupt)
            if isinstance(leaving.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
