"""A job fits what must be fitted, once, and keeps it beside the results."""

from pathlib import Path

import pytest
import torch
from harness import FAST, assert_same_science, call, read, rows
from safetensors.torch import load_file

from xai_sweep.explainers import PatternNet
from xai_sweep.explainers.relevance.patterns import Patterns
from xai_sweep.results import manifests
from xai_sweep.study.fitting import FITS

JOB = (*FAST[1:], "explainer=pattern_net", "data.limit=2", "transform.angle=10")


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("must not be called")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits") / "results"
    assert call(folder, *JOB) == 0
    return folder


def fit_of(results: Path) -> Path:
    (file,) = (results / FITS).iterdir()
    return file


def patterns_of(results: Path) -> Patterns:
    return Patterns.from_bytes(fit_of(results).read_bytes())


def test_a_fit_lies_beside_the_results(results: Path) -> None:
    assert len(read(results)) == 2 * 4
    assert read(results)["error"].isna().all()
    assert read(results)["finite"].all()
    assert fit_of(results).name.startswith("PatternNet-")
    assert patterns_of(results).images == 2


def test_it_is_made_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(results)
    with monkeypatch.context() as patch:
        patch.setattr(PatternNet, "fit", refuse)
        assert call(results, *JOB, "force=true") == 0
    assert_same_science(read(results), first)


def test_other_images_or_parameters_are_another_fit(results: Path, tmp_path: Path) -> None:
    # Of a single image all heatmaps would be zero.
    rows(tmp_path, *JOB, "data.limit=3", "explainer.fit_limit=2")
    assert patterns_of(tmp_path).images == 2
    assert fit_of(tmp_path).name != fit_of(results).name


def test_a_damaged_fit_is_made_again(results: Path) -> None:
    first, whole = read(results), load_file(fit_of(results))
    file = fit_of(results)
    torn = file.read_bytes()[:-9]
    file.unlink()  # and not written over: the tensors above are maps of the file
    file.write_bytes(torn)
    assert call(results, *JOB, "force=true") == 0
    again = load_file(fit_of(results))
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert_same_science(read(results), first)


def test_a_file_can_be_named_and_its_content_is_in_the_key(results: Path, tmp_path: Path) -> None:
    named = tmp_path / "patterns.safetensors"
    named.write_bytes(fit_of(results).read_bytes())
    found = rows(tmp_path / "r", *JOB, f"explainer.patterns={named}")
    assert not (tmp_path / "r" / FITS).exists()
    for metric in ("rmse", "cosine"):
        assert found[metric].tolist() == read(results)[metric].tolist()
    (manifest,) = manifests(tmp_path / "r")
    assert str(manifest["weights_hash"]["explainer.patterns"]).startswith("sha256:")  # type: ignore[index]


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *JOB, "explainer.patterns=nowhere") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: explainer.patterns=nowhere: there is no such file")
