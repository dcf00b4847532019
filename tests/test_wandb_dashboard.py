"""The workspace as code: it shows what runs hold, and a server takes it."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import wandb
from oracles.rows import row_table
from wandb_stub import ENTITY, KEY, Stub

from xai_sweep import results
from xai_sweep.config.cells import Curve
from xai_sweep.config.entries import entries
from xai_sweep.config.names import axes
from xai_sweep.tracking.wandb_record import MAGNITUDE, metric_key

# wandb-workspaces' own, with recent pydantic
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    path = Path(__file__).parent.parent / "analysis" / "wandb_dashboard.py"
    spec = importlib.util.spec_from_file_location("wandb_dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def printed(dashboard: ModuleType, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What `--dry-run` prints."""
    dashboard.main(["--dry-run", "--sweep", "monday"])
    return dict(json.loads(capsys.readouterr().out)["section"])


def test_a_section_of_curves_per_transform(printed: dict) -> None:
    sections = {each["name"]: each for each in printed["panelBankConfig"]["sections"]}
    assert list(sections) == [*entries("transform"), "pictures"]
    logged = results.summary(row_table(2, [0.5, 5.0]).to_pandas()).select_dtypes("number")
    for transform in entries("transform"):
        plots = [panel["config"] for panel in sections[transform]["panels"]]
        shown = {metric for plot in plots for metric in plot["metrics"]}
        assert metric_key(transform, "rmse") in shown
        assert shown <= {metric_key(f"{transform}(fill=edge)", name) for name in logged}
        assert {plot["xAxis"] for plot in plots} == {MAGNITUDE}
    titles = [panel["config"]["xAxisTitle"] for panel in sections["rotation"]["panels"]]
    assert set(titles) == {"angle"}


def test_runs_are_grouped_by_explainer_and_model(printed: dict) -> None:
    (runs,) = printed["runSets"]
    wanted = [key["name"] for key in runs["grouping"]]
    assert wanted == ["axes.value.explainer", "axes.value.model", "question.value"]
    curve = Curve("data", "model", "explainer", "transform", "angle", {})
    assert {name.rpartition(".")[2] for name in wanted[:2]} < set(axes(curve))
    assert "monday" in json.dumps(runs["filters"])


def test_a_server_takes_it(
    dashboard: ModuleType,
    printed: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    with Stub() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        dashboard.main(["--entity", ENTITY, "--sweep", "monday"])
        wandb.teardown()  # it remembers the server
        (view,) = server.views
    assert (view["entityName"], view["projectName"]) == (ENTITY, "xai_sweep")
    sent = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    expected = printed["panelBankConfig"]["sections"]
    assert [each["name"] for each in sent] == [each["name"] for each in expected]
    assert f"/{ENTITY}/xai_sweep" in capsys.readouterr().out


def test_saving_needs_an_owner(dashboard: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        dashboard.main([])
    assert leaving.value.code == 2
    assert "--entity is needed" in capsys.readouterr().err
