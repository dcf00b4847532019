"""`xai-sweep preflight`: what will be done with a network, before any hour is spent."""

import re
import sys

import pytest
from harness import FAST, call

from xai_sweep.commands import main as cli
from xai_sweep.results import load, manifests


def preflight(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Exit code, what was printed, and what went to stderr."""
    monkeypatch.setattr(sys, "argv", ["xai-sweep", "preflight", *words])
    capsys.readouterr()
    try:
        cli.main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_every_operation_its_rule_and_the_cost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=densenet121", "model.weights=random", "explainer=lrp")
    code, out, _ = preflight(capsys, monkeypatch, *words)
    assert code == 0
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line[:1] == "│"}
    assert "z_box" in rows["features.conv0"]
    # A pre-activation network: its batchnorms stand before the convolutions.
    assert "gamma" in rows["features.denseblock1.denselayer1.conv1"]
    assert "fused" in rows["features.denseblock1.denselayer1.conv1"]
    assert "zero" in rows["classifier"]
    assert re.search(r"^memory +[1-9]\d* MiB kept per image$", out, re.M)
    assert re.search(r"^cost +[1-9]\d*\.\d forward passes per image$", out, re.M)
    found = re.search(r"^logits +differ by (\S+) of the largest after fusing$", out, re.M)
    assert found is not None
    assert float(found[1]) < 1e-4


def test_a_method_without_a_plan_has_a_cost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = preflight(capsys, monkeypatch, "explainer=grad_cam")
    assert code == 0
    assert "forward passes per image" in out


TRANSFORMER = ("model=torchvision", "model.name=swin_v2_t", "model.weights=random")


def test_an_operation_without_a_rule_is_one_line_that_names_the_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = preflight(capsys, monkeypatch, *TRANSFORMER, "explainer=lrp")
    assert code != 0
    # The table shows not the first only: attention multiplies in every block.
    rows = [line for line in out.splitlines() if line[:1] == "│" and "unsupported:" in line]
    assert len(rows) > 12
    (line,) = err.strip().splitlines()
    assert line.startswith("error: explainer=lrp: cannot pass features.")
    assert "explainer.unsupported=gradient" in line


def test_a_job_is_checked_before_it_starts(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        *FAST,
        "data.limit=1",
        "explainer=lrp",
        "explainer.rules=[{path: nope, rule: flat}, {rule: zero}]",
    )
    assert call(tmp_path, *words) != 0
    assert "explainer.rules[0].path=nope: matches no layer" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.parquet"))


def test_health_is_in_the_rows_and_notes_in_the_manifest(tmp_path) -> None:
    words = (*FAST, "data.limit=1", "explainer=lrp", "transform.angle=5")
    assert call(tmp_path, *words) == 0
    rows = load(tmp_path)
    whole = rows["relevance_ratio"] + rows["bias_share"] + rows["stabilizer_share"]
    assert whole.to_numpy() == pytest.approx(1, abs=1e-3)
    assert (rows["stabilizer_share"].abs() > 1e-3).any()  # the preset has epsilons
    (manifest,) = manifests(tmp_path)
    notes = manifest["notes"]
    assert notes["logit_difference"] < 1e-4
    assert notes["unsupported"] == []
