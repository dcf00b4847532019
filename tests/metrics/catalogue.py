"""The metrics of the yaml folder, built."""

from hydra.utils import instantiate
from omegaconf import OmegaConf
from xai_sweep.config.root import CONF

from xai_sweep.metrics import Distance, Metric

NAMES = tuple(sorted(path.stem for path in (CONF / "metric").glob("*.yaml")))


def metric(name: str) -> Metric:
    """One entry; a distance that it names is built from its own yaml."""
    node = OmegaConf.load(CONF / "metric" / f"{name}.yaml")[name]
    others = {"distance": metric(node.distance)} if "distance" in node else {}
    built = instantiate(node, **others, _convert_="all")
    assert isinstance(built, Metric)
    return built


METRICS = {name: metric(name) for name in NAMES}
DISTANCES = {name: each for name, each in METRICS.items() if isinstance(each, Distance)}
