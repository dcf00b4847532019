"""The devices of a job: which ones, and what suits them."""

import os

import torch
from omegaconf import DictConfig

from xai_sweep.config.building import plain
from xai_sweep.core.errors import InputError

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device,
_LOADED = {"cpu": 8, "cuda": 64}
# fewer where so many cells want to draw them that their heatmaps would fill the memory.
_CELLS_DRAWN = 10


def kind(asked: str) -> str:
    """``cpu`` or ``cuda``, for an accelerator of Lightning.

    Raises:
        InputError: it is not there.
    """
    available = torch.cuda.is_available()
    if asked == "gpu" and not available:
        raise InputError("trainer", asked, "no CUDA device is available; must be default or cpu")
    if asked == "cuda" and not available:
        raise InputError("device", asked, "no CUDA device is available; must be auto or cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def chosen(trainer: DictConfig, device: str) -> list[int]:
    """The devices that share a job's images, a process each; on a CPU only their number counts.

    Raises:
        InputError: there are not so many, or several without ``trainer=ddp``.
    """
    asked = plain(trainer).get("devices", "auto")
    there = torch.cuda.device_count()
    if asked == "auto":
        devices = list(range(there if device == "cuda" else 1))
    elif type(asked) is int and asked >= 1:
        devices = list(range(asked))
    elif isinstance(asked, list) and asked and all(type(number) is int for number in asked):
        devices = asked
    else:
        allowed = "must be auto, a whole number of at least 1, or a list of GPUs"
        raise InputError("trainer.devices", asked, allowed)
    if device == "cuda" and not set(devices) <= set(range(there)):
        allowed = f"there are {there} GPUs here, counted from 0"
        raise InputError("trainer.devices", asked, allowed)
    if len(devices) > 1 and trainer.get("strategy") != "ddp":
        raise InputError("trainer.devices", asked, "must be 1; several are for trainer=ddp")
    if trainer.get("num_nodes", 1) != 1:
        allowed = "must be 1; more machines are for more jobs"
        raise InputError("trainer.num_nodes", trainer.num_nodes, allowed)
    return devices


def loaded(device: str, cells: int, draws: bool) -> int:
    """Images that the loader hands over at once."""
    fewer = max(1, cells // _CELLS_DRAWN) if draws else 1
    return max(4, _LOADED[device] // fewer)


def workers(images: int, device: str) -> int:
    """Processes that read images."""
    # On a CPU readers would take cores from the network; a handful of images is read at once.
    return 0 if device == "cpu" or images < 16 else min(4, os.cpu_count() or 1)
