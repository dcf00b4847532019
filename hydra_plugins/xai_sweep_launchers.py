"""The launchers of `conf/hydra/launcher`; Hydra takes plugins from this namespace only.

Thin: what they do beside the plugins that they stand on is in `xai_sweep.launching`. Nothing here
imports torch or submitit, because Hydra looks into this file at every start.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from xai_sweep import launching
from xai_sweep.errors import InputError

if find_spec("hydra_plugins.hydra_joblib_launcher"):
    from hydra_plugins.hydra_joblib_launcher import joblib_launcher

    class JoblibLauncher(joblib_launcher.JoblibLauncher):
        """Several processes on this machine; what failed is said when all have ended."""

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            """See `Launcher.launch`."""
            returned = super().launch(job_overrides, initial_job_idx)
            return launching.reported(returned, job_overrides)

else:

    class JoblibLauncher(Launcher):  # type: ignore[no-redef]
        """Stands where the plugin is missing."""

        def __init__(self, **_: Any) -> None:
            """Hydra would wrap an error from here."""

        def setup(self, **_: Any) -> None:
            """See `Launcher.setup`."""
            raise InputError("hydra/launcher", "joblib", launching.needs("joblib"))

        # Never reached, but without it this is no plugin to Hydra.
        launch = setup  # type: ignore[assignment]


if find_spec("hydra_plugins.hydra_submitit_launcher"):
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher

    class LocalLauncher(submitit_launcher.LocalLauncher):
        """submitit on this machine: what SLURM would do, without SLURM."""

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            """See `Launcher.launch`."""
            executor = launching.executor("local", self.params)
            returned = launching.run_here(executor, self, job_overrides, initial_job_idx)
            return launching.reported(returned, job_overrides)

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """An array on SLURM: refuses what cannot run, waits for all jobs, says which failed."""

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            """See `Launcher.launch`."""
            tasks = self.params["tasks_per_node"] * self.params["nodes"]
            launching.check_slurm(self.params["partition"], len(job_overrides), tasks)
            executor = launching.executor("slurm", self.params)
            returned = launching.run_on_slurm(executor, self, job_overrides, initial_job_idx)
            return launching.reported(returned, job_overrides)
