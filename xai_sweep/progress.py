"""The progress bar of a job."""

from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.text import Text

from xai_sweep.data import Batch


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        return Text(f"{task.speed:.2f} images/s" if task.speed else "- images/s", style="cyan")


class Progress(pl.Callback):
    """Shows images done, images per second and the time left.

    Args:
        name: what is computed.
        total: images of the cells.
        done: images that were there before.
    """

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task(name, total=total, completed=done)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to draw."""
        self.bar.start()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        self.bar.advance(self.task, len(batch.files) + len(batch.failed))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.stop()

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        exception: BaseException,
    ) -> None:
        """Give the terminal back."""
        self.bar.stop()
