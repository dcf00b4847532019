"""`xai-sweep preflight`: what will be done with a network, before any hour is spent."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import FAST, call
from networks import WithoutRules

from xai_sweep.results import load, manifests

DENSENET = ("model=densenet121", "model.weights=random", "explainer=lrp")
WITHOUT_RULES = ("model=checkpoint", "model.architecture=networks:WithoutRules", "explainer=lrp")


def test_every_operation_its_rule_and_the_cost(say: Callable[..., Any]) -> None:
    answer = say("preflight", *DENSENET)
    assert answer.code == 0
    rows = {cells[0]: cells for cells in answer.cells}
    assert rows["features.conv0"][2] == "z_box"
    # A pre-activation network: its batchnorms stand before the convolutions.
    assert rows["features.denseblock1.denselayer1.conv1"][2:4] == ["gamma", "fused"]
    assert rows["classifier"][2] == "zero"
    assert re.search(r"^memory +[1-9]\d* MiB kept per image$", answer.out, re.M)
    assert re.search(r"^cost +[1-9]\d*\.\d forward passes per image$", answer.out, re.M)
    found = re.search(r"^logits +differ by (\S+) of the largest after fusing$", answer.out, re.M)
    assert found is not None
    assert float(found[1]) < 1e-4


def test_the_same_as_json(say: Callable[..., Any]) -> None:
    document = say("preflight", "--json", *DENSENET).json
    rules = {each["path"]: each["rule"] for each in document["operations"]}
    assert rules["features.conv0"] == "z_box"
    assert set(document["operations"][0]) == {"path", "operation", "rule", "batchnorm", "note"}
    assert document["findings"]["logit_difference"] < 1e-4
    assert document["memory_bytes"] > 2**20
    assert document["cost_in_forwards"] > 0.5
    assert document["error"] is None


def test_a_method_without_a_plan_has_a_cost(say: Callable[..., Any]) -> None:
    answer = say("preflight", "explainer=grad_cam", "-m")
    assert answer.code == 0
    assert "forward passes per image" in answer.out
    document = say("preflight", "explainer=grad_cam", "--json").json
    assert document["operations"] == []
    assert document["memory_bytes"] is None
    assert document["cost_in_forwards"] > 0.5


def test_an_operation_without_a_rule_is_one_line_that_names_the_layer(
    say: Callable[..., Any], tmp_path: Path
) -> None:
    torch.save(WithoutRules().state_dict(), tmp_path / "net.pt")
    words = (*WITHOUT_RULES, f"model.path={tmp_path}/net.pt", "model.size=16")
    answer = say("preflight", *words)
    assert answer.code == 2
    # The table shows not the first only.
    assert sum("unsupported:" in cells[-1] for cells in answer.cells) == 3
    (line,) = answer.err.strip().splitlines()
    assert line.startswith("error: explainer=lrp: cannot pass blocks.")
    assert "explainer.unsupported=gradient" in line

    answer = say("preflight", "--json", *words)
    assert answer.code == 2
    assert answer.err.strip() == line
    assert answer.json["error"] == line.removeprefix("error: ")
    assert answer.json["cost_in_forwards"] is None
    assert len(answer.json["operations"]) > 3


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("explainer=lrpp", "explainer=lrpp: must be one of "),
        ("modle=vgg16", "modle=vgg16: unknown key; did you mean model?"),
        ("--jsn", "--jsn=: unknown key; did you mean --json?"),
    ],
)
def test_bad_words(word: str, message: str, complaint: Callable[..., str]) -> None:
    assert complaint("preflight", word).startswith(message)


def test_a_job_is_checked_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        *FAST,
        "data.limit=1",
        "explainer=lrp",
        "explainer.rules=[{path: nope, rule: flat}, {rule: zero}]",
    )
    assert call(tmp_path, *words) != 0
    assert "explainer.rules[0].path=nope: matches no layer" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.parquet"))


def test_health_is_in_the_rows_and_findings_in_the_manifest(tmp_path: Path) -> None:
    words = (*FAST, "data.limit=1", "explainer=lrp", "transform.angle=5")
    assert call(tmp_path, *words) == 0
    rows = load(tmp_path)
    whole = rows["relevance_ratio"] + rows["bias_share"] + rows["stabilizer_share"]
    assert whole.to_numpy() == pytest.approx(1, abs=1e-3)
    assert (rows["stabilizer_share"].abs() > 1e-3).any()  # the preset has epsilons
    (manifest,) = manifests(tmp_path)
    findings = manifest["findings"]
    assert findings["logit_difference"] < 1e-4
    assert findings["unsupported"] == []
