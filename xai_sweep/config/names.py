"""What a job is called where it stands beside others: by what differs, not by all that it is."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig, OmegaConf

from xai_sweep.config.cells import Curve, title
from xai_sweep.config.root import CONF, plain

# Keys of the root that decide the numbers and are on no axis of their own.
_QUESTION = ("seed", "ranks", "target", "region", "region_of")


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
    root = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(root, DictConfig)
    usual = {group: entry for line in root.defaults for group, entry in _pairs(line)}
    words = [curve.title]
    if title("data", choices, plain(cfg.data)) != usual["data"]:
        words.append(curve.data)
    small = OmegaConf.load(CONF / "magnitude" / f"{usual['magnitude']}.yaml")
    assert isinstance(small, DictConfig)
    # The identity has no magnitude but 0.
    if list(magnitudes) not in ([0.0], list(small.get(curve.parameter, []))):
        words.append(f"{curve.parameter}={','.join(f'{each:g}' for each in magnitudes)}")
    words += [f"{key}={cfg[key]}" for key in _QUESTION if cfg[key] != root[key]]
    return " · ".join(words)


def _pairs(line: object) -> list[tuple[str, object]]:
    return list(line.items()) if isinstance(line, Mapping) else []
