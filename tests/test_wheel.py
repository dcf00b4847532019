"""An installed package does what a checkout does: the yaml folder travels inside the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from xai_sweep.core.paths import CONF

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_every_yaml_and_the_type_marker_are_inside(unpacked: Path) -> None:
    inside = unpacked / "xai_sweep" / "conf"
    assert {path.relative_to(inside) for path in inside.rglob("*.yaml")} == {
        path.relative_to(CONF) for path in CONF.rglob("*.yaml")
    }
    assert (unpacked / "xai_sweep" / "py.typed").exists()


def test_plugins_are_inside_and_leave_the_name_space_to_others(unpacked: Path) -> None:
    plugins = unpacked / "hydra_plugins"
    assert {path.name for path in plugins.iterdir()} == {
        path.name for path in (ROOT / "hydra_plugins").glob("*.py")
    }
    assert not (plugins / "__init__.py").exists()


def test_the_console_script_runs_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from xai_sweep.commands.main import main; sys.argv[0] = 'xai-sweep'; main()"
    )
    words = ["run", "-m", "experiment=quick", "data.limit=1", "results=there", "ranks=1,2"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "there").glob("cells/*/_manifest.json"))) == 2
