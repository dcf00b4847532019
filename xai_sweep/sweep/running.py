"""One job: build what the configuration names, skip what is done, predict, hand in."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from xai_sweep.config.points import Composer, Point
from xai_sweep.core.errors import InputError
from xai_sweep.store.failures import STOPPED, Failed
from xai_sweep.sweep.failure_log import Notes
from xai_sweep.sweep.grouping import compute_group
from xai_sweep.sweep.job import Job as Job
from xai_sweep.sweep.packing import Overrides
from xai_sweep.sweep.requests import Groups


def run(cfg: DictConfig, job: Job) -> list[Failed]:
    """Compute the cells that a job asks for and that are not finished yet; then report.

    Returns:
        What failed, if the job is one of several.

    Raises:
        InputError: a single job asks for what cannot be done; nothing was lost.
    """
    if cfg.pack is not None and not job.several:
        raise InputError("pack", "...", "is written by a multirun (-m) and cannot be given")
    stop = job.output.parent / STOPPED if job.several and cfg.on_error == "stop" else None
    notes = Notes(job.sweep, Path(cfg.results), keeps_going=job.several, stop=stop)
    groups = Groups()
    if cfg.pack is None:
        with notes.of_point(job.overrides, job.overrides):
            groups.add(Point(cfg, job.choices, job.overrides))
    else:
        composer = Composer.of_the_running_job()
        for own in _pack(cfg):
            if not notes.stopped:
                with notes.of_point((*job.overrides, *own), own):
                    groups.add(composer.point((*job.overrides, *own)))
    for group in groups.all():
        if not notes.stopped:
            compute_group(group, job, notes)
    return notes.failed


def _pack(cfg: DictConfig) -> list[Overrides]:
    """What each point of a job's grid adds to the job's own overrides."""
    # As it stands there: an interpolation in it is not one of this configuration.
    pack = OmegaConf.to_container(cfg, resolve=False)["pack"]  # type: ignore[index,call-overload]
    return [tuple(own) for own in pack]
