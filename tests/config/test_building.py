"""From a node of the configuration to an object: types, names of other entries, one-line errors."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
from annotated_types import Ge
from omegaconf import DictConfig, OmegaConf

from xai_sweep.config import building
from xai_sweep.config.building import build, deciding, plain
from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import EXECUTION_ONLY
from xai_sweep.metrics import RMSE, Distance, TopKIoU


@dataclass(frozen=True)
class Example:
    """Parameters of every kind."""

    count: Annotated[int, Ge(1)] = 1
    share: float = 0.5
    folder: str | None = None
    distance: Distance = field(default_factory=RMSE)
    batch_size: Annotated[int, EXECUTION_ONLY] = 8


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class above under a path that may be named."""
    monkeypatch.setattr(building, "Example", Example, raising=False)


def node(**values: object) -> DictConfig:
    target = "xai_sweep.config.building.Example"
    return OmegaConf.create({"metric": {"example": {"_target_": target, **values}}}).metric.example


def test_values_become_what_is_declared() -> None:
    made = build(node(count=3, share=1, folder="2024"))
    assert (made.count, made.share, made.folder) == (3, 1.0, "2024")
    assert type(made.share) is float


def test_text_for_a_parameter_with_a_group_is_the_name_of_an_entry() -> None:
    assert build(node(distance="topk_iou")).distance == TopKIoU(share=0.05)
    given = {"_target_": "xai_sweep.metrics.TopKIoU", "share": 0.2}
    assert build(node(distance=given)).distance == TopKIoU(share=0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "metric.example.count=0: must be a whole number of at least 1"),
        (
            {"folder": 2024},
            "metric.example.folder=2024: must be text or null; a name that looks like a number "
            'needs quotes in a yaml file: "2024_05"',
        ),
        ({"folder": ""}, "metric.example.folder=: must be text or null"),
        ({"count": 1.5}, "metric.example.count=1.5: must be a whole number of at least 1"),
        ({"coumt": 1}, "metric.example.coumt=1: unknown key; did you mean count? allowed: count, "),
        ({"distance": "rmsd"}, "metric.example.distance=rmsd: must be one of cosine, "),
        (
            {"distance": {"_target_": "os.getcwd"}},
            "metric.example.distance._target_=os.getcwd: must begin with xai_sweep. or ",
        ),
        (
            {"distance": {"_target_": "xai_sweep.metrics.TopKIoU", "share": 2}},
            "metric.example.distance.share=2: must be a number above 0 and below 1",
        ),
    ],
)
def test_a_mistake_is_one_line_under_its_full_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(node(**values))
    assert str(caught.value).startswith(message)


def test_an_entry_of_another_kind_is_not_offered() -> None:
    with pytest.raises(InputError) as caught:
        build(node(distance="no_such"))
    offered = str(caught.value).partition("must be one of ")[2].split(", ")
    assert "rmse" in offered
    assert not {"there_and_back", "second_draw", "deletion"} & {*offered}


def test_what_only_says_how_decides_nothing() -> None:
    values = plain(node(batch_size=4, count=2))
    assert deciding("metric", values) == {"_target_": values["_target_"], "count": 2}
