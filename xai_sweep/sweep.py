"""One job: build what the configuration names, skip what is done, predict, hand in."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from xai_sweep.asked import Groups
from xai_sweep.errors import InputError
from xai_sweep.job import Job as Job
from xai_sweep.notes import Notes
from xai_sweep.packing import Overrides
from xai_sweep.points import Composer, Point
from xai_sweep.results.failures import STOPPED, Failed
from xai_sweep.work import compute_group


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
    composer = Composer.of_the_running_job() if job.several else None
    for own in _pack(cfg):
        if not notes.stopped:
            overrides = (*job.overrides, *own)
            with notes.of_point(overrides, own or overrides):
                groups.add(
                    composer.point(overrides)
                    if composer and own
                    else Point(cfg, job.choices, overrides)
                )
    for group in groups.all():
        if not notes.stopped:
            compute_group(group, job, notes)
    return notes.failed


def _pack(cfg: DictConfig) -> list[Overrides]:
    """What each point of a job's grid adds to the job's own overrides."""
    # As it stands there: an interpolation in it is not one of this configuration.
    pack = OmegaConf.to_container(cfg, resolve=False)["pack"]  # type: ignore[index,call-overload]
    return [()] if pack is None else [tuple(own) for own in pack]
