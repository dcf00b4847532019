"""What is declared as text stays as it was typed, whatever it looks like."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import command, read, tiny
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from xai_sweep.config import plugins
from xai_sweep.config.messages import one_line
from xai_sweep.config.quoting import as_text, for_hydra, for_the_shell, parsed
from xai_sweep.config.texts import kept
from xai_sweep.store.failures import failures
from xai_sweep.sweep.packing import spelled


@pytest.fixture(autouse=True)
def ours() -> Iterator[None]:
    """No folder of an earlier command line adds entries."""
    plugins.activate_from([])
    yield
    plugins.activate_from([])


# Folder names that Hydra reads as something else.
LOOKS_LIKE = [
    *("2024_05_17", "0.10", "1e3", "1_000", "+5", "-0", ".5", "5.", "1E5", "nan", "inf", "-Inf"),
    *("true", "True", "FALSE", "[a]", "[1,2]", "[]", "{a: 1}", "2024"),
]


@pytest.mark.parametrize("text", LOOKS_LIKE)
@pytest.mark.parametrize(
    "key",
    ["results", "data.root", "model.path", "logger.project", "logger.group", "hydra.run.dir"],
)
def test_a_text_that_looks_like_something_else(key: str, text: str) -> None:
    (word,) = kept([f"{key}={text}"])
    override = parsed(word)
    assert override is not None
    assert override.value() == text
    assert kept([word]) == [word]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.root=2024_05,0.10", 'data.root="2024_05","0.10"'),
        ("data.root=choice(2024_05,x)", 'data.root=choice("2024_05",x)'),
        ("explainer.members=[2024_05, a.pt]", 'explainer.members=["2024_05",a.pt]'),
        ("model.labels=[1e3,[x]]", 'model.labels=["1e3","[x]"]'),
        ("logger.tags=[true]", 'logger.tags=["true"]'),
        ("++data.root=1_0", '++data.root="1_0"'),
        ("results= a ", 'results=" a "'),
    ],
)
def test_grids_and_lists_of_texts(word: str, expected: str) -> None:
    assert kept([word]) == [expected]


@pytest.mark.parametrize(
    "word",
    [
        *("transform.sigma=1e-3", "transform.angle=[0.50,1_0]", "seed=1_0", "force=True"),
        *("data.limit=1_0", "model.mean=[0.50,0.5,0.5]", "model.arguments={classes: 1_0}"),
        *("data.labels=null", "results=null", "region_of=[1_0]", "batch_size=1_0"),
        *("metric=[rmse,ssim]", "data.root=${oc.env:HOME}", 'data.root="a"', "data.root=a/b c"),
        *("~metric.ssim", "explainer/rules=default", "nonsense", "nonsense=1_0", "a.b.c=1_0"),
        *("--config-name=1_0", "-m", "explainer.rules=[{rule: epsilon, epsilon: 1e-2}]"),
        *("trainer.devices=2", "trainer.devices=[0,1]", "explainer.layer=0.50"),
        *("data.root=range(1,3)", "explainer.rules=[{rule: zero}]"),
    ],
)
def test_everything_else_is_left_alone(word: str) -> None:
    assert kept([word]) == [word]


def test_a_grid_of_such_names_its_record_its_status_and_its_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [word for word in tiny(tmp_path / "tiny") if not word.startswith("data.root")]
    monkeypatch.chdir(tmp_path)
    names = ("2024_05", "[x]", "é [1] a=b,c", "${a}", "two\nlines")
    for index, name in enumerate(names):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40), (index, 99, 7)).save(tmp_path / name / f"{index}.png")
    texts = ",".join(map(for_hydra, names[2:]))
    words = (*small, f"data.root=2024_05,[x],{texts}", "explainer=grad_cam", "metric=[rmse]")
    there = ("transform.angle=[5]", "results=1_000")
    assert command("run", *words, "-m", *there, "explainer.layer=nope") == 2
    roots = [str(each.config["data"]["root"]) for each in failures("1_000") if each.config]
    assert sorted(roots) == sorted(names)
    assert command("retry", "1_000") == 2
    roots = [str(each.config["data"]["root"]) for each in failures("1_000") if each.config]
    assert sorted(roots) == sorted(names)
    words = (*small, f"data.root={for_hydra(names[-1])}", "explainer=grad_cam", "metric=[rmse]")
    assert command("run", *words, *there) == 0
    assert set(read(tmp_path / "1_000")["image_id"]) == {f"{len(names) - 1}.png"}
    capsys.readouterr()
    assert command("status", "--json", "1_000", "-m", *words, *there) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results=null"], "results=null: must be text"),
        (["results="], "results=: must be text"),
        (['results="~/x"'], "results=~/x: ~ is nobody's home here, give the path: /"),
        (["results=???"], "results=???: is needed"),
        (["data=folder", "data.root="], "data.root=: must be text or null"),
        (["--config-dir=own", "--config-name=mine"], "results=202405: must be text; a name that "),
        (["--config-dir=own", "data=mine"], "data.root=202405: must be text or null; a name that "),
    ],
)
def test_what_is_no_folder_makes_none(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "mine.yaml").write_text("defaults: [config, _self_]\nresults: 2024_05\n")
    (tmp_path / "own" / "data" / "mine.yaml").write_text(
        "defaults: [folder, _self_]\nroot: 2024_05\n"
    )
    assert command("run", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert command("run", "-m", *words) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"own", "results"}


ODD = st.text(alphabet="a1_.=,[]{}()#$~%'\"\\ :ü-+\n?", min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@example("a\\")
@example("\\${x}")
@example("${x}")
@given(st.one_of(ODD, st.text(min_size=1, max_size=8)))
def test_any_name_comes_back_as_it_was(name: str) -> None:
    """Quoted for Hydra, packed in a job, and quoted for the shell."""
    word = f"data.root={for_hydra(name)}"
    if (override := parsed(word)) is None:
        pytest.fail(word)
    assert OmegaConf.create({"root": override.value()}).root == name
    assert kept([word]) == [word]
    pack = parsed(f"pack={spelled([(word,)])}")
    assert pack is not None
    held = OmegaConf.to_container(OmegaConf.create({"pack": pack.value()}), resolve=False)
    assert held == {"pack": [[word]]}
    if name.isprintable():
        assert shlex.split(for_the_shell(word)) == [word]
    else:
        assert "\n" not in for_the_shell(word)


@settings(max_examples=150, deadline=None)
@given(ODD)
def test_any_word_is_text_a_grid_or_one_line_with_the_form_that_works(name: str) -> None:
    word = f"data.root={name}"
    (given,) = kept([word])
    override = parsed(given)
    if override is None:
        with pytest.raises(OverrideParseException) as refused:
            OverridesParser.create().parse_overrides([given])
        assert for_the_shell(as_text("data.root", name)) in one_line(refused.value)
        return
    if override.is_sweep_override():
        assert "," in name or "(" in name
    elif not set(name) & {"\\", '"', "'", "$"} and name not in ("null",):
        assert override.value() == name
