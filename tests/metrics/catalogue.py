"""The metrics of the yaml folder, built."""

from omegaconf import OmegaConf

from xai_sweep.config.building import build
from xai_sweep.core.paths import CONF
from xai_sweep.metrics import Distance, Metric

NAMES = tuple(sorted(path.stem for path in (CONF / "metric").glob("*.yaml")))


def metric(name: str, **changes: object) -> Metric:
    """One entry, with some of its parameters changed."""
    node = OmegaConf.load(CONF / "metric" / f"{name}.yaml")
    node[name].update(changes)
    built = build(OmegaConf.create({"metric": node}).metric[name])
    assert isinstance(built, Metric)
    return built


METRICS = {name: metric(name) for name in NAMES}
DISTANCES = {name: each for name, each in METRICS.items() if isinstance(each, Distance)}
