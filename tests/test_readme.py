"""What the README says, runs."""

import re
import runpy
from pathlib import Path

import pytest
from harness import call, command
from skimage import data

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONSOLE = [
    line.removeprefix("$ ").split("#")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
JOBS = [line.removeprefix("python run.py").split() for line in CONSOLE if "python run.py" in line]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme") / "results"


def test_the_first_lines_are_the_two_commands() -> None:
    assert [line for line in CONSOLE if line.startswith("make")] == ["make run", "make test"]
    assert README.index("make run") < 100


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)`?", README))))
def test_every_make_target_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("words", JOBS, ids=" ".join)
def test_jobs_run(words: list[str], results: Path) -> None:
    # The W&B run has its own tests, and costs seconds for each of these.
    logger = [] if "--help" in words or not words else ["logger=none"]
    assert call(results, *words, *logger) == 0


def test_report(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "xai-sweep report results" in CONSOLE
    assert command("report", results) == 0
    assert "lrp" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["status", "verify", "compact", "prune"])
def test_upkeep(name: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"xai-sweep {name} results" in CONSOLE
    assert command(name, results) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("code", PYTHON, ids=["reading", "explaining"])
def test_python_runs(
    code: str, results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(code)
    from PIL import Image

    Image.fromarray(data.chelsea()).save(results.parent / "photo.jpg")
    monkeypatch.chdir(results.parent)
    names = runpy.run_path(str(script))
    if "heatmaps" in names:
        assert names["heatmaps"].shape == (1, 4, 224, 224)
    else:
        assert len(names["rows"]) > 0


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
