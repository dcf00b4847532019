"""The launchers of `conf/hydra/launcher`; Hydra takes plugins from this namespace only.

Their own work is in `xai_sweep.sweep.launching`, which is imported late: Hydra imports this file
whenever a Hydra program starts.
"""

from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.utils import JobReturn
from typing_extensions import override

if find_spec("hydra_plugins.hydra_submitit_launcher"):
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher

    class LocalLauncher(submitit_launcher.LocalLauncher):
        """submitit on this machine: the same path as on SLURM, without SLURM."""

        @override
        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            from xai_sweep.sweep import launching

            executor = launching.executor("local", self.params)
            return launching.run_here(executor, self, job_overrides, initial_job_idx)

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """An array on SLURM: refuses what cannot run, waits for all jobs, says which died."""

        @override
        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            from xai_sweep.sweep import launching

            tasks = self.params["tasks_per_node"] * self.params["nodes"]
            launching.check_slurm(self.params["partition"], len(job_overrides), tasks)
            executor = launching.executor("slurm", self.params)
            return launching.run_on_slurm(executor, self, job_overrides, initial_job_idx)
