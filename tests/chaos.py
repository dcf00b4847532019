"""A whole sweep that takes seconds, for processes that are killed."""

import faulthandler
import os
import sys
from pathlib import Path

import numpy as np
import torch
from harness import call
from networks import network
from PIL import Image

from xai_sweep.store.sharing import lease, lease_file, turns

IMAGES = 10
PIXELS = 24
# Seconds after which a process that should have ended prints its stack, and ends.
HANGS = 1500


def prepare(folder: Path) -> tuple[str, ...]:
    """Make a network and images; returns the command line of a sweep over them: 8 cells, 4 jobs."""
    torch.save(network("plain").state_dict(), folder / "net.pt")
    photos = folder / "photos"
    photos.mkdir()
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = generator.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    return (
        *("-m", "model=checkpoint", "model.architecture=networks:Plain"),
        *(f"model.path={folder / 'net.pt'}", f"model.size={PIXELS}"),
        *("data=folder", f"data.root={photos}", "ranks=2", "metric=[rmse,cosine]"),
        *("explainer=saliency,input_x_gradient", "transform=rotation,gaussian_noise"),
        *("magnitude.angle=[1,10]", "magnitude.sigma=[0.1,0.5]"),
        *("logger=none", "pictures=false", "keep_heatmaps=worst", "keep_worst=3"),
        *("shard_images=1", "batch_size=2", "workers=0"),
    )


def sweep(results: Path, words: tuple[str, ...], printed: Path, host: str = "") -> None:
    """The command, in a process of its own.

    Args:
        results: the results folder.
        words: of the command line.
        printed: where it prints to.
        host: if given, a name of the machine that no other process has.
    """
    if host:
        for module in (lease, lease_file):
            module.machine = lambda: host  # type: ignore[assignment]
    turns._LOOK_SECONDS = 0.2
    torch.set_num_threads(1)
    with printed.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    faulthandler.dump_traceback_later(HANGS, exit=True)
    sys.exit(call(results, *words))
