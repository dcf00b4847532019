"""What a person reads when something is wrong, and what `--help` says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import FAST, assert_same_science, call, read, rows
from PIL import Image

import xai_sweep
from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.results import load

ROOT = Path(__file__).parents[2]
QUICK = (*FAST, "magnitude=single", "data.limit=1")


def refused(capsys: pytest.CaptureFixture[str], results: Path, *words: str) -> str:
    """The one line on stderr of a run that must fail."""
    capsys.readouterr()
    assert call(results, *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0].removeprefix("error: ")


BAD = [
    (["transfrom=rotation"], "transfrom=rotation: unknown key; did you mean transform?"),
    (["transform.angel=3"], "transform.angel=3: unknown key; did you mean angle? allowed: angle"),
    (["ranks=abc"], "ranks=abc: must be a whole number"),
    (["ranks=0"], "ranks=0: must be a whole number of at least 1"),
    (["force=maybe"], "force=maybe: must be true or false"),
    (["transform.angle=abc"], "transform.angle=abc: must be a number, or a list of them"),
    (
        ["transform=gaussian_noise", "transform.sigma=-1"],
        "transform.sigma=-1: must be a number of at least 0, or a list of them",
    ),
    (["data.limit=0"], "data.limit=0: must be a whole number of at least 1 or null"),
    (["data=folder"], "data.root=null:"),
    (["target=both"], "target=both: must be one of class, rank"),
    (["region=circle"], "region=circle: must be one of mask, rectangle, none"),
    (
        ["region_of=abc"],
        "region_of=abc: must be one of own, all or a number or a list, each a number",
    ),
    (["device=tpu"], "device=tpu: must be one of auto, cpu, cuda"),
    (["keep_heatmaps=some"], "keep_heatmaps=some: must be one of none, worst, all"),
    (["batch_size=0"], "batch_size=0: must be auto or a whole number of at least 1"),
    (["workers=-1"], "workers=-1: must be auto or a whole number of at least 0"),
    (["seed=-1"], "seed=-1: must be a whole number of at least 0 and below 9223372036854775808"),
    (["metric=[]"], "metric=[]: must name at least one metric"),
    (["metric=[rmsd]"], "metric=rmsd: must be one of cosine, "),
    (["explainer._target_=os.system"], "explainer._target_=os.system: must begin with xai_sweep."),
    (["model=torchvision", "model.name=resnet19"], "model.name=resnet19: "),
    (["explainer.polarity=up"], "explainer.polarity=up: must be one of evidence, counter, both"),
    (["transform.angle=="], "transform.angle==: must be key=value"),
    (["ranks=1001"], "ranks=1001: must be at most 1000, the model's classes"),
    (["explainer.layer=nope"], "explainer.layer=nope: is no module of this network"),
    (["transform=3"], "transform=3: must be one of brightness, "),
    (["+foo=3"], "foo=3: unknown key"),
    (["+explainer.foo=3"], "explainer.foo=3: unknown key; allowed: layer, polarity"),
    (["~seed"], "seed=: is needed"),
    (["~transform"], "transform=: must be one of brightness, "),
    (["data.limit=abc"], "data.limit=abc: must be a whole number of at least 1 or null"),
    (["metric.rmse=3"], "metric.rmse=3: must keep the keys of its yaml"),
    (["trainer.devices=none"], "trainer.devices=none: must be auto, a whole number of at least 1"),
    (["explainer._target_=xai_sweep.Nope"], "explainer._target_=xai_sweep.Nope: there is no such"),
    (["transform.angle={_target_:os.getcwd}"], "transform.angle={'_target_': 'os.getcwd'}: must"),
    (
        ["explainer=cam", "model=alexnet", "model.weights=random"],
        "explainer=cam: needs a network that ends in global average pooling and one linear layer; ",
    ),
    (
        ["explainer=occlusion", "explainer.window=300"],
        "explainer.window=300: must be at most 224, the image's smaller side",
    ),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words[-1] for words, _ in BAD])
def test_bad_input_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, tmp_path, *QUICK, *words).startswith(message)


@pytest.mark.parametrize("word", ["explainer=foo", "explainer=[grad_cam,saliency]"])
def test_an_unknown_explainer_is_told_all_there_are(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
    assert refused(capsys, tmp_path, *QUICK, word) == f"{word}: must be one of {', '.join(every)}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, tmp_path, *QUICK, "device=cuda")
    assert message == "device=cuda: no CUDA device is available; must be auto or cpu"


def test_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    (texts / "notes.txt").write_text("no image")
    for root in (tmp_path / "missing", empty, texts, texts / "notes.txt"):
        words = (*FAST, "data=folder", f"data.root={root}")
        assert refused(capsys, tmp_path / "r", *words).startswith(f"data.root={root}: ")


def test_results_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for results in (file, file / "below"):
        assert str(file) in refused(capsys, results, *QUICK)
    assert file.read_text() == "not a folder"


def test_results_of_another_schema_version_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "_xai_sweep.json"
    marker.write_text(json.dumps({"schema": 99}))
    message = refused(capsys, tmp_path, *QUICK)
    assert message.startswith(f"results={tmp_path}: ")
    assert "99" in message
    assert json.loads(marker.read_text()) == {"schema": 99}


def test_a_half_written_shard_is_named_and_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = rows(tmp_path, *QUICK)
    (shard,) = tmp_path.glob("cells/*/rows-*.parquet")
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"half-written or damaged") as caught:
        load(tmp_path)
    assert str(shard) in str(caught.value)
    assert_same_science(rows(tmp_path, *QUICK), expected)


def test_an_error_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(tmp_path, *QUICK)
    for words in (["ranks=1001"], ["transform.angle=abc"], ["explainer.layer=nope", "force=true"]):
        assert call(tmp_path, *QUICK, *words) == 2
        assert_same_science(read(tmp_path), before)


def test_a_bad_job_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    words = ["-m", *QUICK, "explainer.layer=null,nope,blocks.9,blocks.5"]
    assert call(tmp_path, *words) == 2
    found = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert [line.split(":")[1].strip() for line in found] == [
        "explainer.layer=nope",
        "explainer.layer=blocks.9",
        "2 failed, all the rest is complete; why",
    ]
    assert sorted(set(read(tmp_path)["explainer"])) == ["grad_cam", "grad_cam(layer=blocks.5)"]


def test_weights_that_cannot_be_had_name_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    capsys.readouterr()
    assert call(tmp_path / "r", *QUICK, "model=vgg16") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "vgg16-397923af.pth" in message
    assert "model.weights" in message


def test_help_names_every_group_and_needs_no_torch() -> None:
    script = (
        "import sys; sys.argv = ['run.py', '--help']\n"
        "from xai_sweep.commands.run import run\n"
        "run()\n"
        "assert not {'torch', 'pytorch_lightning', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for group in {path.parent.name for path in CONF.glob("*/*.yaml")}:
        assert f"{group}:" in done.stdout
    for key in ("results=", "data.root=", "data.limit=", "ranks=", "force=", "batch_size="):
        assert key in done.stdout


def test_the_configuration_can_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--cfg", "job", "magnitude=single") == 0
    assert "angle: 10" in capsys.readouterr().out


COMMANDS = [
    *("run", "status", "report", "representatives", "retry", "verify", "compact", "prune"),
    *("explainers", "preflight", "wandb-sync"),
]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_help_names_every_command(words: list[str], say: Callable[..., Any]) -> None:
    answer = say(*words)
    assert answer.code == 0
    for name in COMMANDS:
        assert re.search(rf"^    {name}\b", answer.out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(command: str, option: str, say: Callable[..., Any]) -> None:
    answer = say(command, option)
    assert answer.code == 0
    if command == "run":  # Hydra's own
        assert "usage: python run.py" in answer.out
    else:
        assert answer.out.startswith(f"usage: xai-sweep {command}")
    assert answer.err == ""


def test_the_version(say: Callable[..., Any]) -> None:
    assert say("--version").out == f"xai_sweep {xai_sweep.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], f"command=fly: must be one of {', '.join(COMMANDS)}"),
        (["--fly"], "--fly=: must be xai-sweep COMMAND ..."),
        (["report", "nowhere"], "path=nowhere: "),
        (["representatives", "nowhere"], "path=nowhere: "),
        (["retry", "nowhere"], "results=nowhere: a results folder; there is no such folder"),
        (
            ["wandb-sync", "nowhere"],
            "results=nowhere: must be a folder that holds W&B runs",
        ),
        (["wandb-sync", "--unfinished"], "wandb-sync=--unfinished: must be xai-sweep wandb-sync "),
        (["run", "transfrom=rotation"], "transfrom=rotation: unknown key; did you mean transform?"),
        (["run", "--fly=high", "seed=3"], "--fly=high: unknown option; xai-sweep run --help lists"),
        (["run", "seed=3", "--config-name"], "--config-name/-cn=: expected one argument"),
        (
            ["wandb-sync", "nowhere", "--config-dir=x"],
            "--config-dir=x: unknown key; allowed: --",
        ),
    ],
)
def test_what_the_console_script_refuses(
    words: list[str], message: str, complaint: Callable[..., str]
) -> None:
    assert complaint(*words).startswith(message)
    assert "HYDRA_FULL_ERROR" not in os.environ  # programs started from here have errors in a line


def test_words_of_run_reach_hydra_as_they_are(say: Callable[..., Any]) -> None:
    words = ("run", "seed=3", "--cfg", "job", "+explainer.options={a: 1}", "explainer=lime")
    answer = say(*words)
    assert answer.code == 0
    assert "seed: 3" in answer.out


def test_multirun_may_stand_anywhere(tmp_path: Path, say: Callable[..., Any]) -> None:
    words = [word for word in QUICK if "explainer" not in word]
    answer = say("run", *words, "explainer=sobel,constant", "-m", f"results={tmp_path}")
    assert answer.code == 0
    assert sorted(set(read(tmp_path)["explainer"])) == ["constant", "sobel"]


def test_help_and_input_errors_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from xai_sweep.commands.main import main\n"
        "for words in (['status', '--help'], ['verify'], ['fly'], ['explainers', '--nope']):\n"
        "    sys.argv = ['xai-sweep', *words]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit:\n"
        "        pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'pandas', 'pyarrow', 'matplotlib', 'wandb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_report_of_several_curves(tmp_path: Path, say: Callable[..., Any]) -> None:
    words = (*QUICK, "keep_heatmaps=worst")
    assert call(tmp_path, "-m", *words, "explainer.polarity=evidence,both") == 0
    answer = say("report", tmp_path)
    assert answer.code == 0
    assert "grad_cam(polarity=both)" in answer.out.replace("\n", "")
    pictures = sorted(path.name for path in tmp_path.glob("_figures/*/*.png"))
    assert pictures == ["curves.png", "curves.png", "strip-chelsea.png", "strip-chelsea.png"]
    with Image.open(next(tmp_path.glob("_figures/*/curves.png"))) as picture:
        assert picture.width > 400
