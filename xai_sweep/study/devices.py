"""The devices of a job: which ones, and what suits them."""

import os

import torch
from omegaconf import DictConfig

from xai_sweep.config.building import plain
from xai_sweep.core.errors import InputError

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device,
_LOADED = {"cpu": 8, "cuda": 64}
# fewer where so many cells keep heatmaps that these would fill the memory.
_CELLS_WITH_HEATMAPS = 10


def kind(accelerator: str) -> str:
    """``cpu`` or ``cuda``, for an accelerator of Lightning.

    Raises:
        InputError: it is not available.
    """
    available = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not available:
        key, other = ("trainer", "default") if accelerator == "gpu" else ("device", "auto")
        allowed = f"no CUDA device is available; must be {other} or cpu"
        raise InputError(key, accelerator, allowed)
    return "cuda" if available and accelerator != "cpu" else "cpu"


def chosen(trainer: DictConfig, device: str) -> list[int]:
    """The devices that share a job's images, a process each; on a CPU only their number counts.

    Raises:
        InputError: there are not that many, or the processes of a job would be joined otherwise.
    """
    given = plain(trainer).get("devices", "auto")
    count = torch.cuda.device_count()
    if given == "auto":
        devices = list(range(count if device == "cuda" else 1))
    elif type(given) is int and given >= 1:
        devices = list(range(given))
    elif isinstance(given, list) and given and all(type(number) is int for number in given):
        devices = given
    else:
        allowed = "must be auto, a whole number of at least 1, or a list of GPUs"
        raise InputError("trainer.devices", given, allowed)
    if device == "cuda" and not set(devices) <= set(range(count)):
        allowed = f"this machine has {count} GPUs, numbered from 0; name some of them"
        raise InputError("trainer.devices", given, allowed)
    if trainer.get("strategy", "auto") != "auto":
        allowed = "must be auto; trainer.devices=N shares a job's images between N processes"
        raise InputError("trainer.strategy", trainer.strategy, allowed)
    if trainer.get("num_nodes", 1) != 1:
        allowed = "must be 1; on more machines run more jobs"
        raise InputError("trainer.num_nodes", trainer.num_nodes, allowed)
    return devices


def loaded(device: str, cells: int, keep_heatmaps: bool) -> int:
    """Images that the loader hands over at once."""
    fewer = max(1, cells // _CELLS_WITH_HEATMAPS) if keep_heatmaps else 1
    return max(4, _LOADED[device] // fewer)


def workers(images: int, device: str) -> int:
    """Processes that read images."""
    # On a CPU readers would take cores from the network; a handful of images is read at once.
    return 0 if device == "cpu" or images < 16 else min(4, os.cpu_count() or 1)
