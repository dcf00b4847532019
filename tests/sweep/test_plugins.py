"""A package of the user's own adds entries; ours are found first, and nobody else's code is run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import call, command, read, tiny

from xai_sweep.config import plugins
from xai_sweep.config.entries import entries
from xai_sweep.store.failures import failures

ROOT = Path(__file__).parents[2]

CLASSES = '''
"""A copy of Grad-CAM, and of rotation, under names of their own."""

from dataclasses import dataclass

from xai_sweep.explainers.cam.grad_cam import GradCam
from xai_sweep.transforms.geometric.rotation import Rotation


@dataclass(frozen=True)
class MyCam(GradCam):
    strength: int = 1


@dataclass(frozen=True)
class Turn(Rotation):
    pass
'''
EXPLAINER = """# Mine.
_target_: {name}.classes.MyCam
layer: null
polarity: evidence
strength: 1
"""
TRANSFORM = """# Mine.
_target_: {name}.classes.Turn
angle: [3, 6]
fill: mean
fill_value: 0.5
"""

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a package in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: list[str] = []

    def make(name: str, **more: str) -> Path:
        made.append(name)
        folder = tmp_path / name
        files = {
            "__init__.py": "",
            "classes.py": CLASSES,
            "conf/explainer/my_cam.yaml": EXPLAINER.format(name=name),
            "conf/transform/turn.yaml": TRANSFORM.format(name=name),
        }
        for path, text in (files | more).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    yield make
    plugins.activate_from([])
    for name in [*sys.modules]:
        if name.partition(".")[0] in made:
            del sys.modules[name]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return (*tiny(tmp_path_factory.mktemp("tiny")), "metric=[rmse]")


MINE = ("explainer=my_cam", "transform=turn")


def test_a_folder_in_the_working_directory(
    make: Make, small: tuple[str, ...], tmp_path: Path
) -> None:
    make("beside_a")
    words = ("plugins=[beside_a]", *small, *MINE)
    assert call(tmp_path / "r", *words, "explainer.strength=2") == 0
    rows = read(tmp_path / "r")
    assert set(rows["explainer"]) == {"my_cam(strength=2)"}
    assert sorted(set(rows["magnitude"])) == [3, 6]
    (first, _) = (tmp_path / "r").glob("cells/*/_manifest.json")
    assert json.loads(first.read_text())["config"]["plugins"] == ["beside_a"]
    assert "my_cam" in entries("explainer")
    # With another plugin beside it the cells are the same.
    make("beside_b", **{"conf/explainer/my_cam.yaml": "# None.\n"})
    (tmp_path / "beside_b" / "conf" / "explainer" / "my_cam.yaml").rename(
        tmp_path / "beside_b" / "conf" / "explainer" / "other.yaml"
    )
    (tmp_path / "beside_b" / "conf" / "transform" / "turn.yaml").unlink()
    both = [word.replace("[beside_a]", "[beside_a,beside_b]") for word in words]
    assert call(tmp_path / "r", *both, "explainer.strength=2") == 0
    assert len(list((tmp_path / "r" / "cells").iterdir())) == 2


def test_without_the_key_its_entries_are_unknown(
    make: Make, small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("beside_c")
    assert call(tmp_path / "r", "plugins=[beside_c]", *small, *MINE) == 0
    capsys.readouterr()
    assert call(tmp_path / "r", *small, "explainer=my_cam") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: explainer=my_cam: must be one of b_lrp, ")
    assert "my_cam," not in line


def test_a_grid_its_status_and_a_retry(
    make: Make, small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("beside_d")
    words = ("plugins=[beside_d]", *small, "explainer=my_cam,grad_cam", "transform=turn")
    assert call(tmp_path / "r", "-m", *words, "explainer.layer=null,nope") == 2
    assert [each.plugins for each in failures(tmp_path / "r")] == [("beside_d",)] * 2
    capsys.readouterr()
    assert command("status", tmp_path / "r", "--json", *words) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["done"], counts["missing"]) == (4, 0)
    # Without the key: the records hold it.
    assert command("retry", tmp_path / "r") == 2
    assert "explainer.layer=nope: is no module of this network" in capsys.readouterr().err
    assert command("explainers", "--json", "plugins=[beside_d]") == 0
    known = json.loads(capsys.readouterr().out)["explainers"]
    assert "my_cam" in {each["explainer"] for each in known}
    assert command("preflight", *words[:-2], *MINE) == 0


def test_in_the_processes_of_a_launcher(make: Make, small: tuple[str, ...], tmp_path: Path) -> None:
    launcher = "local"  # pickles the job, as SLURM's does
    make("beside_e")
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from xai_sweep.commands.run import run; run()"),
            *("-m", f"results={tmp_path / 'r'}", "plugins=[beside_e]", *small, *MINE),
            *("explainer.strength=1,2", f"hydra/launcher={launcher}"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(read(tmp_path / "r")["explainer"]) == {"my_cam", "my_cam(strength=2)"}


OWN = """
defaults:
  - config
  - override explainer: my_cam
  - override transform: turn
  - _self_
plugins: [beside_f]
"""
EXPERIMENT = """# @package _global_
defaults:
  - override /explainer: my_cam
  - override /transform: turn
plugins: [beside_f]
"""


@pytest.mark.parametrize(
    "words", [("--config-name", "own"), ("-m", "experiment=mine", "transform.angle=1,2")]
)
def test_named_in_a_configuration_of_ones_own(
    words: tuple[str, ...], make: Make, small: tuple[str, ...], tmp_path: Path
) -> None:
    make("beside_f")
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "own.yaml").write_text(OWN)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    options = ("--config-dir", str(tmp_path / "own"))
    multirun = [word for word in words if word == "-m"]
    rest = [word for word in words if word != "-m"]
    assert call(tmp_path / "r", *multirun, *options, *rest, *small) == 0
    assert set(read(tmp_path / "r")["explainer"]) == {"my_cam"}
    bad = ("explainer.layer=nope",)
    assert call(tmp_path / "r", "-m", *options, *rest, *small, *bad) == 2
    assert command("retry", tmp_path / "r") == 2
    assert {each.plugins for each in failures(tmp_path / "r")} == {("beside_f",)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[no_such_package]", "no_such_package: no such package is installed, and there is no "),
        (
            "no_such_package",
            "no_such_package: must be a list of packages, e.g. plugins=[my_package]",
        ),
        ("[3]", "[3]: must be a list of packages"),
        ("['a b']", "['a b']: must be a list of packages"),
        ("[json]", "json: must have a folder conf with yaml files; there is none in "),
        ("[bare]", "bare: must have a folder conf with yaml files; there is none in "),
        ("[broken.inner]", "broken.inner: cannot be imported (RuntimeError: not today)"),
        (
            "[clash]",
            "clash: {here}/clash/conf/explainer/lrp.yaml must have another name",
        ),
        ("[one,two]", "two: {here}/two/conf/explainer/my_cam.yaml must have another name: one"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_in_one_line(
    value: str, message: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "__init__.py").touch()
    make("broken", **{"__init__.py": "raise RuntimeError('not today')"})
    make("clash", **{"conf/explainer/lrp.yaml": EXPLAINER})
    make("one")
    make("two")
    assert call(tmp_path / "r", f"plugins={value}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: plugins={message.format(here=tmp_path)}")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"conf/explainer/my_cam.yaml": EXPLAINER.replace("{name}.classes", "os")},
            "explainer._target_=os.MyCam: must begin with xai_sweep. or pytorch_lightning. or ",
        ),
        (
            {"classes.py": "import no_such_module"},
            "explainer._target_=beside_g.classes.MyCam: there is no such class "
            "(ModuleNotFoundError: ",
        ),
        (
            {"conf/explainer/my_cam.yaml": f"{EXPLAINER}more: 3\n"},
            "explainer.more=3: unknown key; allowed: layer, polarity, strength",
        ),
        (
            {"conf/explainer/my_cam.yaml": EXPLAINER.replace("strength: 1", "strength: abc")},
            "explainer.strength=abc: must be a whole number",
        ),
    ],
)
def test_mistakes_in_a_plugin_are_one_line(
    changed: dict[str, str],
    message: str,
    make: Make,
    small: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {name: text.replace("{name}", "beside_g") for name, text in changed.items()}
    make("beside_g", **files)
    assert call(tmp_path / "r", "plugins=[beside_g]", *small, "explainer=my_cam") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_other_hydra_programs_are_left_alone() -> None:
    script = (
        "import sys\n"
        "from hydra import compose, initialize_config_module\n"
        "with initialize_config_module('hydra.test_utils.configs', version_base='1.3'):\n"
        "    compose(overrides=['+plugins=[nothing]'])\n"
        "assert not [name for name in sys.modules if name.startswith('xai_sweep')]\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
