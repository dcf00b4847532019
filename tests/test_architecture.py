"""The walk through the architecture names files that exist, and what it says of them is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
PATHS = sorted(set(re.findall(r"`((?:xai_sweep|conf)/[\w/.]*|run\.py)`", TEXT)))


def test_it_names_files() -> None:
    assert len(PATHS) > 40


@pytest.mark.parametrize("path", PATHS)
def test_every_named_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_room_is_in_the_table() -> None:
    folders = {
        path.name for path in (ROOT / "xai_sweep").iterdir() if (path / "__init__.py").exists()
    }
    table = TEXT[TEXT.index("## The rooms") : TEXT.index("## A walk")]
    assert folders == set(re.findall(r"`xai_sweep/(\w+)/`", table))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("prepare", "xai_sweep/explainers/base.py"),
        ("explain", "xai_sweep/explainers/base.py"),
        ("cases", "xai_sweep/study/probe.py"),
        ("predict_step", "xai_sweep/study/probe.py"),
        ("another", "xai_sweep/study/view.py"),
        ("pixels", "xai_sweep/transforms/base.py"),
        ("sources", "xai_sweep/transforms/base.py"),
        ("bind", "xai_sweep/transforms/base.py"),
        ("between", "xai_sweep/metrics/base.py"),
        ("files", "xai_sweep/data/base.py"),
    ],
)
def test_every_named_method_exists(name: str, path: str) -> None:
    assert f"`{name}" in TEXT or f".{name}(" in TEXT
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_rooms_that_read_rows_do_not_import_torch_and_kernels_no_hydra() -> None:
    def imported(room: str) -> set[str]:
        found: set[str] = set()
        for file in (ROOT / "xai_sweep" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.split(".")[0])
                    found.add(".".join(node.module.split(".")[:2]))
        return found

    for room in ("store", "results", "statistics", "report"):
        assert "torch" not in imported(room)
    for room in ("explainers", "transforms", "metrics", "graphs"):
        assert not imported(room) & {"hydra", "omegaconf", "pytorch_lightning", "xai_sweep.store"}
    assert not imported("explainers") & {"xai_sweep.transforms", "xai_sweep.metrics"}
    assert "xai_sweep.metrics" not in imported("transforms")
