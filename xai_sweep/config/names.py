"""What a job is called where it stands beside others: by what differs from the defaults."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig

from xai_sweep.config.building import plain
from xai_sweep.config.cells import Curve, title
from xai_sweep.config.entries import written
from xai_sweep.config.keys import OF_A_CURVE, values


def axes(curve: Curve) -> dict[str, str]:
    """Where a curve stands on each axis of the grid, with what differs from the yaml."""
    return {
        "model": curve.model,
        "explainer": curve.explainer,
        "transform": curve.transform,
        "data": curve.data,
    }


def run_name(
    cfg: DictConfig, choices: Mapping[str, str], curve: Curve, magnitudes: Sequence[float]
) -> str:
    """The curve's title, and whatever else is not as in `conf/config.yaml`.

    For example ``vgg16 · lrp · rotation`` and ``vgg16 · lrp · rotation · angle=0.5 · seed=3``.
    """
    root = written("config")
    usual = {
        group: entry
        for line in root["defaults"]
        if isinstance(line, Mapping)
        for group, entry in line.items()
    }
    words = [curve.title]
    if title("data", choices, plain(cfg.data)) != usual["data"]:
        words.append(curve.data)
    small = written(f"magnitude/{usual['magnitude']}")
    # The identity has no magnitude but 0.
    if list(magnitudes) not in ([0.0], list(small.get(curve.parameter, []))):
        words.append(f"{curve.parameter}={','.join(f'{each:g}' for each in magnitudes)}")
    words += [f"{key}={cfg[key]}" for key in values(*OF_A_CURVE) if cfg[key] != root[key]]
    return " · ".join(words)
