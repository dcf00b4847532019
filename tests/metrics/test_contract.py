"""The contract of metrics, over every yaml of the group."""

import runpy
from pathlib import Path

import pytest
from metrics.catalogue import METRICS, NAMES
from metrics.contract import MetricContract

from xai_sweep.metrics import Metric

TEMPLATE = Path(__file__).parents[2] / "examples" / "plugin" / "my_package"


class TestCatalogue(MetricContract):
    @pytest.fixture(params=NAMES)
    def metric(self, request: pytest.FixtureRequest) -> Metric:
        return METRICS[request.param]


class TestPlugin(MetricContract):
    """The metric of the plugin's template, as a plugin's own tests would."""

    @pytest.fixture
    def metric(self) -> Metric:
        found: Metric = runpy.run_path(str(TEMPLATE / "metrics.py"))["SignAgreement"]()
        return found


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_named_after_the_entry_and_have_a_source(name: str) -> None:
    for column in METRICS[name].columns:
        assert column.source
        assert (
            column.name == name
            or column.name.startswith(f"{name}_")
            or column.name.endswith(f"_{name}")
        )


def test_no_two_entries_give_the_same_column() -> None:
    columns = [column.name for metric in METRICS.values() for column in metric.columns]
    assert len(columns) == len(set(columns))
