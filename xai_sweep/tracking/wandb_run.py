"""A Weights & Biases run per job."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from xai_sweep.errors import InputError
from xai_sweep.tracking.base import Logger, NullTracker, Tracker
from xai_sweep.tracking.wandb_login import answers, logged_in

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline")
INIT_SECONDS = 20.0
FINISH_SECONDS = 120.0


@dataclass(frozen=True)
class Wandb(Logger):
    """A Weights & Biases run per job.

    Attributes:
        project: name of the W&B project.
        mode: `auto` is online if the user is logged in and the host answers within 2 seconds, and
            offline otherwise. The environment variable `WANDB_MODE` has the last word.
        images: send pictures too.
        name, group: of the run; W&B makes up a name if there is none.
        tags: of the run.

    Raises:
        InputError: unknown mode.
    """

    project: str = "xai_sweep"
    mode: str = "auto"
    images: bool = True
    name: str | None = None
    group: str | None = None
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError("logger.mode", self.mode, f"one of {', '.join(MODES)}")

    def start(self, folder: Path, name: str | None = None, group: str | None = None) -> Tracker:
        """Open a run; offline if the server does not take it.

        Raises:
            InputError: `online` without being logged in.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _contained(folder):
            mode = self._resolved_mode()
        for attempt in dict.fromkeys([mode, "offline"]):
            with _kept_going(folder, f"start {attempt}"):
                run = self._init(folder, attempt, self.name or name, self.group or group)
                return WandbTracker(run, folder, self.images)
        return NullTracker()

    def _resolved_mode(self) -> str:
        mode = os.environ.get("WANDB_MODE") or self.mode
        if mode == "online" and not logged_in():
            # W&B itself would ask for a key and wait.
            raise InputError("logger.mode", mode, "log in first (`wandb login`), or use offline")
        if mode == "auto":
            return "online" if logged_in() and answers() else "offline"
        return mode

    def _init(self, folder: Path, mode: str, name: str | None, group: str | None) -> "Run":
        import wandb  # takes a second, which only those pay who use it

        return wandb.init(
            project=self.project,
            name=name,
            group=group,
            tags=list(self.tags),
            dir=folder,
            mode=mode,  # type: ignore[arg-type]  # WANDB_MODE may hold more than we know
            reinit="create_new",  # several jobs may share a process
            settings=wandb.Settings(
                silent=True,
                console="off",  # the progress bar owns the console
                symlink=False,  # parallel jobs would fight for `latest-run`
                x_disable_stats=True,
                x_disable_machine_info=True,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,  # the rest stays on disk for `wandb sync`
                finish_timeout_raises=True,
            ),
        )


class WandbTracker(Tracker):
    """A W&B run: metrics over the magnitude, the summary as a table, pictures, exit code."""

    def __init__(self, run: "Run", folder: Path, images: bool) -> None:
        self._run, self._folder, self._images = run, folder, images

    @property
    def location(self) -> str:
        """The address of an online run, the folder of an offline one."""
        online = None if self._run.offline else self._run.url
        return online or str(Path(self._run.dir).parent)

    def config(self, config: Mapping[str, object]) -> None:
        """The run's config."""
        with _kept_going(self._folder, "keep the configuration"):
            self._run.config.update(dict(config))  # type: ignore[no-untyped-call]

    def summary(self, table: pd.DataFrame) -> None:
        """A history with the magnitude as x axis, `metric/magnitude` in the summary, a table."""
        import wandb

        metrics = [
            str(name) for name in table.select_dtypes("number").columns if name != "magnitude"
        ]
        with _kept_going(self._folder, "log the summary"):
            self._run.define_metric("magnitude", hidden=True)
            for name in metrics:
                self._run.define_metric(name, step_metric="magnitude", summary="mean")
            for _, row in table.sort_values("magnitude").iterrows():
                numbers = row[metrics].dropna()
                values = {name: float(numbers[name]) for name in metrics if name in numbers}
                self._run.log({"magnitude": row["magnitude"], **values})
                at = f"{row['magnitude']:g}"
                self._run.summary.update({f"{name}/{at}": value for name, value in values.items()})
            # W&B knows None, and not the missing values of pandas.
            shown = table.astype(object).where(table.notna(), None)
            self._run.log({"summary": wandb.Table(dataframe=shown)})

    def figure(self, name: str, path: Path) -> None:
        """A picture under this name."""
        import wandb

        if self._images:
            with _kept_going(self._folder, f"log the picture {name}"):
                self._run.log({name: wandb.Image(str(path))})

    def finish(self, exit_code: int = 0) -> None:
        """Send what is left, for two minutes at most."""
        with _kept_going(self._folder, "finish"):
            self._run.finish(exit_code=exit_code)


@contextmanager
def _kept_going(folder: Path, what: str) -> Iterator[None]:
    """W&B inside; whatever it raises becomes a warning."""
    try:
        with _contained(folder):
            yield
    except Exception as error:  # W&B raises a dozen private classes that share no base
        reason = " ".join(str(error).split())
        log.warning("W&B could not %s: %s: %s", what, type(error).__name__, reason)


@contextmanager
def _contained(folder: Path) -> Iterator[None]:
    """W&B inside writes into the folder only, and nothing to the console.

    Some of its places, and its first words, are settings of the environment alone.
    """
    here = str(folder / "wandb")
    settings = {"WANDB_CACHE_DIR": here, "WANDB_DATA_DIR": here, "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
