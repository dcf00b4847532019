"""Hydra's own sweeper, but a job computes all points that share model, data and explainer.

Hydra looks for plugins in this name space. It imports them whenever any Hydra program of the
environment starts, so this one imports the rest of the package only when it sweeps.
"""

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from xai_sweep.config.points import Overrides
    from xai_sweep.store.failures import Failed


class PackingSweeper(BasicSweeper):
    """Packs the points of a grid into jobs before any launcher sees them.

    Args:
        max_batch_size: as of Hydra's own: so many jobs are launched at once.
        params: as of Hydra's own: more overrides, by key.
        retry: compute what failed in the results folder, in place of a grid.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        retry: bool = False,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.retry = retry

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Launch the jobs; at the end, list what failed.

        Raises:
            InputError: a key of the sweep makes no sense.
            SomeFailedError: some jobs failed; all the rest was computed.
        """
        from xai_sweep.config.keys import check_sweep
        from xai_sweep.report.terminal import raise_failures
        from xai_sweep.store.failures import STOPPED, failures, forget_retried
        from xai_sweep.sweep.packing import jobs

        assert self.config is not None
        check_sweep(self.config)
        folder, results = Path(self.config.hydra.sweep.dir), Path(str(self.config.results))
        before = failures(results) if self.retry else []
        if self.retry and not before:
            print(f"nothing failed in {results}")
            return []
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")  # as Hydra's own sweeper does
        (folder / STOPPED).unlink(missing_ok=True)
        points = self._recorded(before, arguments) if self.retry else self._grid(arguments)
        cells = self._plan(points)
        packed = jobs(
            points, self.config.cells_per_job, lambda point: cells.get(frozenset(point), 1)
        )
        returns, failed = self._launch(packed)
        stopped = (folder / STOPPED).exists()
        if not stopped:
            forget_retried(results, before, failed)
        if failed:
            raise_failures(failed, results, stopped=stopped)
        return returns

    def _grid(self, arguments: list[str]) -> list["Overrides"]:
        from xai_sweep.config.points import grid

        assert self.hydra_context is not None
        return grid(self.hydra_context.config_loader, self.params, arguments)

    def _recorded(self, before: Sequence["Failed"], arguments: list[str]) -> list["Overrides"]:
        from xai_sweep.config.texts import kept

        points = dict.fromkeys(words for failed in before for words in failed.overrides)
        return [(*kept(words), *arguments) for words in points]

    def _plan(self, points: Sequence["Overrides"]) -> dict[frozenset[str], int]:
        """Write down the cells of every point before anything is computed; how many each has."""
        from xai_sweep.config.points import Composer
        from xai_sweep.sweep.plan import plan_points

        assert self.hydra_context is not None
        assert self.config is not None
        composer = Composer(self.hydra_context.config_loader, self.config)
        limited = self.config.cells_per_job is not None
        return plan_points(composer, points, counted=limited)

    def _launch(self, jobs: Sequence["Overrides"]) -> tuple[list[JobReturn], list["Failed"]]:
        """A job that its launcher loses is a failure like others; the rest goes on."""
        from xai_sweep.config.messages import USER_ERRORS
        from xai_sweep.store.failures import failures, lost, now

        assert self.config is not None
        assert self.launcher is not None
        begin, first, returns = now(), 0, list[JobReturn]()
        failed: list[Failed] = []
        for batch in self.split_overrides_to_chunks(list(map(list, jobs)), self.max_batch_size):
            try:
                returns += self.launcher.launch(batch, initial_job_idx=first)
            except USER_ERRORS:
                raise
            except Exception as error:
                written = failures(str(self.config.results))
                failed += [each for each in written if each.time >= begin]
                failed.append(lost(error))
            first += len(batch)
        gone: dict[str, Failed] = {}
        for job in returns:
            try:
                with redirect_stderr(StringIO()):  # Hydra would print what is listed at the end
                    failed += job.return_value
            except Exception as error:
                gone.setdefault(str(error), lost(error))
        return returns, [*failed, *gone.values()]
