"""Every notebook runs to its end on a small results folder, and is stored without output."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from oracles.rows import COLUMNS, row_table

from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.schema import table
from xai_sweep.store.store import Store

NOTEBOOKS = sorted((Path(__file__).parents[1] / "analysis").glob("*.ipynb"))

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def write_results(root: Path, *, keep: bool) -> Path:
    """Two explainers at two magnitudes; one class flips; the second image failed throughout."""
    store, generator = Store(root), np.random.default_rng(0)
    for explainer in ("grad_cam", "random"):
        for magnitude in (0.5, 5.0):
            cell = store.cell(f"{explainer}-{magnitude:g}")
            rows = row_table(3, [magnitude], explainer=explainer, flipped=[5]).to_pylist()
            for row in rows:
                if row["image_id"] == "image_1.png":
                    row |= {"error": "cannot be read", "flipped": None, "rmse": None}
                    row |= {"label_new": None, "prob_new": None, "rmse_there_and_back": None}
            maps = generator.normal(size=(2, 2, 16, 16)).astype(np.float32)
            photo = generator.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
            names, scores = ("image_0.png", "image_2.png"), np.array([0.1, 0.2], np.float32)
            cell.begin()
            kept = Heatmaps(names, scores, maps, maps, photo, photo) if keep else None
            cell.write(table(rows, COLUMNS), kept)
            cell.finish(
                {
                    **{"curve": explainer, "question": f"{explainer}-mask"},
                    **{"magnitude": magnitude, "unit": "degrees"},
                }
            )
    return root


def executed(path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    monkeypatch.setenv("XAI_SWEEP_RESULTS", str(results))
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]))
    monkeypatch.setenv("PYTHONWARNINGS", "error::FutureWarning,error::DeprecationWarning:__main__")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    return client.execute()


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    data = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [found[kind] for found in data if kind in found]


def printed(notebook: NotebookNode, name: str) -> str:
    return "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == name
    )


def test_it_is_stored_without_output(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert code
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_it_takes_its_results_as_a_parameter(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    (tagged,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert "results = " in tagged.source
    assert "XAI_SWEEP_RESULTS" in tagged.source


def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = executed(path, write_results(tmp_path / "results", keep=True), monkeypatch)
    assert printed(notebook, "stderr") == ""
    assert len(outputs(notebook, "text/html")) >= 4
    assert len(outputs(notebook, "image/png")) >= 5  # 3 metrics, 2 strips


def test_it_runs_without_heatmaps(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed(path, write_results(tmp_path / "results", keep=False), monkeypatch)
    assert "no heatmaps were kept" in printed(notebook, "stdout")
