"""The progress bar of a job."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.data import Batch


class _Rate(ProgressColumn):
    """Images per second."""

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} images/s" if speed else "", style="cyan")


class _TitledBar(Bar):
    """A bar below what it is about; both come and go together."""

    title = ""

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        return [Text(self.title), *super().get_renderables()]


class Progress(pl.Callback):
    """Shows images done, images per second and the time left.

    Args:
        name: what is computed.
        total: images of the cells.
        done: images that were there before.
        ranks: processes that share the images; the others are taken to be as far as this one.
    """

    def __init__(self, name: str, total: int, done: int = 0, ranks: int = 1) -> None:
        self.bar = _TitledBar(
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self.bar.title = name
        self.task = self.bar.add_task("", total=total, completed=done)
        self.total, self.done, self.ranks = total, done, ranks

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
        self.done += self.ranks * (len(batch.files) + len(batch.failed))
        self.bar.update(self.task, completed=min(self.done, self.total))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back; what the user got wrong stands there alone."""
        if isinstance(exception, InputError):
            self.bar.live.transient = True
            self.bar.live.stop()  # the bar's own stop would leave an empty line in a log file
        else:
            self.bar.stop()
