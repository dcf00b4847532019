"""One job: build what the configuration names, skip what is done, compute, publish."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from xai_sweep.config import plugins
from xai_sweep.config.points import Composer, Overrides, Point
from xai_sweep.core.errors import InputError
from xai_sweep.store.failures import STOPPED, Failed
from xai_sweep.sweep.failure_log import FailureLog
from xai_sweep.sweep.grouping import compute_group
from xai_sweep.sweep.job import Job as Job
from xai_sweep.sweep.requests import Groups


def run(cfg: DictConfig, job: Job) -> list[Failed]:
    """Compute the cells that a job requests and that are not finished yet; then report.

    Returns:
        What failed, if the job is one of several.

    Raises:
        InputError: a single job requests what cannot be done; nothing was lost.
    """
    if cfg.pack is not None and not job.several:
        raise InputError("pack", "...", "is written by a multirun (-m) and cannot be given")
    plugins.activate(cfg.plugins)  # in a process of a launcher, none is active yet
    stop = job.output.parent / STOPPED if job.several and cfg.on_error == "stop" else None
    log = FailureLog(
        *(job.sweep, Path(cfg.results)),
        keeps_going=job.several,
        stop=stop,
        plugins=[plugin.name for plugin in plugins.active()],
        options=job.options,
    )
    groups = Groups()
    if cfg.pack is None:
        with log.point(job.overrides, job.overrides):
            groups.add(Point(cfg, job.choices, job.overrides))
    else:
        composer = Composer.of_the_running_job()
        for own in _pack(cfg):
            if not log.stopped:
                with log.point((*job.overrides, *own), own):
                    groups.add(composer.point((*job.overrides, *own)))
    for group in groups.all():
        if not log.stopped:
            compute_group(group, job, log)
    return log.failed


def _pack(cfg: DictConfig) -> list[Overrides]:
    """What each point of a job's grid adds to the job's own overrides."""
    # Unresolved: an interpolation in it belongs to the point's configuration.
    pack = OmegaConf.to_container(cfg, resolve=False)["pack"]  # type: ignore[index,call-overload]
    return [tuple(own) for own in pack]
