"""Entries in folders of the user's own are entries like ours, however the folder is named."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import command, read, tiny

from xai_sweep.config import plugins
from xai_sweep.config.presets import preset, presets
from xai_sweep.models import load
from xai_sweep.store.failures import failures

MODEL = """defaults: [checkpoint, _self_]
architecture: networks:Plain
path: tiny/plain.pt
size: 32
"""
RULES = "# @package explainer\nrules: [{op: [conv, linear], rule: epsilon}, {rule: zero}]\n"
EXPLAINER = "defaults: [lrp, _self_, {override rules: mine}]\n"
FILES = {
    "model/mynet.yaml": MODEL,
    "data/wards.yaml": "_target_: xai_sweep.data.Folder\nroot: tiny/photos\nlimit: 1\n",
    "explainer/my_lrp.yaml": EXPLAINER,
    "explainer/rules/mine.yaml": RULES,
    "magnitude/mine.yaml": "angle: [5]\n",
    "mine.yaml": "defaults: [config, _self_]\nhydra: {searchpath: ['file://own']}\n",
}
WORDS = (
    *("model=mynet", "data=wards", "explainer=my_lrp", "magnitude=mine", "metric=[rmse]"),
    *("logger=none", "keep_heatmaps=none", "pictures=false", "ranks=1"),
)
NAMED = (
    ("--config-dir", "own"),
    ("hydra.searchpath=[file://own]",),
    ("hydra.searchpath=[own]",),
    ("--config-dir=own", "--config-name=mine"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    tiny(tmp_path / "tiny")
    for name, text in FILES.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield tmp_path
    plugins.activate_from([])


@pytest.mark.parametrize("named", NAMED, ids=" ".join)
def test_names_titles_help_and_commands(
    named: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("run", *WORDS, *named) == 0
    (row,) = read(folder / "results").to_dict("records")
    assert (row["model"], row["explainer"]) == ("mynet", "my_lrp")
    assert row["data"].startswith("wards-")
    capsys.readouterr()
    assert command("status", "--json", "results", *WORDS, *named) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == 1
    capsys.readouterr()
    assert command("run", "model=mynets", *named) == 2
    assert ", mynet, " in capsys.readouterr().err
    # In Python, and where rules are named.
    assert load("mynet").module is not None
    assert "mine" in presets()
    assert preset("mine")[1] == {"rule": "zero"}


def test_the_other_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = NAMED[1]
    assert command("explainers", "--json", *named) == 0
    known = json.loads(capsys.readouterr().out)["explainers"]
    assert "my_lrp" in {each["explainer"] for each in known}
    assert command("preflight", "--json", *WORDS, *named) == 0


def test_a_grid_and_its_retry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ("hydra.searchpath=[file://own]",)
    words = (*WORDS, *named, "explainer.layer=nope,null", "-m")
    assert command("run", *words) == 2
    (failed,) = failures("results")
    assert failed.options == named
    assert read(folder / "results")["explainer"].tolist() == ["my_lrp"]
    assert command("retry", "results") == 2
    assert "explainer.layer=nope: is no module of this network" in capsys.readouterr().err


def test_what_an_own_entry_changes_in_another_is_in_no_title() -> None:
    plugins.activate_from(["--config-dir=own"])
    from xai_sweep.config.cells import title
    from xai_sweep.config.entries import complete

    node, _ = complete("model/mynet", {})
    assert node["path"] == "tiny/plain.pt"
    assert title("model", {"model": "mynet"}, node) == "mynet"
    assert title("model", {"model": "mynet"}, node | {"size": 64}) == "mynet(size=64)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir", "nowhere"], "--config-dir=nowhere: must be a folder of yaml files; "),
        (["hydra.searchpath=[file://nowhere]"], "hydra.searchpath=file://nowhere: must be a fol"),
        (["hydra.searchpath=[http://x]"], "hydra.searchpath=http://x: must be a folder of yaml"),
        (["hydra.searchpath=own"], "hydra.searchpath=own: must be a list of folders, e.g. "),
        (["hydra.searchpath=[pkg://nowhere.conf]"], "hydra.searchpath=pkg://nowhere.conf: must "),
        (["--config-dir=clash"], "--config-dir=clash: {here}/clash/model/vgg16.yaml must have an"),
        (["hydra.searchpath=[own,twin]"], "hydra.searchpath=twin: {here}/twin/data/wards.yaml mu"),
        (["--config-name=nope"], "--config-name=nope: must be the name of a yaml file in the fol"),
    ],
)
def test_a_folder_that_cannot_be_used(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("clash/model/vgg16.yaml", "twin/data/wards.yaml"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(FILES["model/mynet.yaml"])
    assert command("run", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message.format(here=folder)}")
