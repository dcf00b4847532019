"""Heatmaps that hold no number, or show nothing: counted wherever the job tells of its results."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from harness import call, command, read
from PIL import Image

from xai_sweep.results import manifests, without_number
from xai_sweep.store.failures import failures

# A signed square root after bilinear pooling has an infinite gradient where a channel is dead.
NETS = """
from torch import nn
import torch.nn.functional as F


class Root(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(16, 3)
        self.a.bias.data[0] = -100

    def forward(self, x):
        x = F.relu(self.a(x)).flatten(2)
        x = (x @ x.transpose(1, 2)).flatten(1)
        return self.head(x.sign() * x.abs().sqrt())


class Free(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.relu(self.a(x)).mean((2, 3)))
"""
QUIET = ("logger=csv", "pictures=false", "keep_heatmaps=none", "ranks=1", "transform.angle=[10]")
METRICS = ("rmse", "nrmse", "cosine")


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """Two photos, the second of one colour, and a module of networks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_without_numbers.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "photos").mkdir()
    pixels = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(0))
    photo = Image.fromarray(pixels.byte().numpy()).resize((32, 32), Image.Resampling.BICUBIC)
    photo.save("photos/a.png")
    Image.new("RGB", (32, 32)).save("photos/blank.png")
    import nets_without_numbers as nets

    for name in ("Root", "Free"):
        torch.manual_seed(0)
        torch.save(getattr(nets, name)().state_dict(), f"{name}.pt")
    normal = ("model.mean=[0,0,0]", "model.std=[1,1,1]", "model.size=32", "data=folder")
    yield ("model=checkpoint", *normal, "data.root=photos", f"metric=[{','.join(METRICS)}]", *QUIET)
    del sys.modules["nets_without_numbers"]


def of(name: str) -> tuple[str, ...]:
    return f"model.architecture=nets_without_numbers:{name}", f"model.path={name}.pt"


def test_some_lack_numbers(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path / "r", *words, *of("Free"), "explainer=input_x_gradient") == 0
    shown = capsys.readouterr().out
    assert "nrmse: NaN for 1 of 2 images, which are in no mean (the reference is zero" in shown
    assert "cosine: NaN for 1 of 2 images, which are in no mean (a heatmap is zero eve" in shown
    rows = read(tmp_path / "r")
    blank = rows[rows["image_id"] == "blank.png"].iloc[0]
    assert math.isnan(blank["nrmse"])
    (found,) = manifests(tmp_path / "r")
    assert found["missing"] == {"nrmse": 1, "cosine": 1}
    (csv,) = (tmp_path / "r").rglob("summary.csv")
    table = pd.read_csv(csv)
    assert table["nrmse_images"].tolist() == [1]
    assert "rmse_images" not in table
    assert set(without_number(rows)["metric"]) == {"nrmse", "cosine"}


def test_none_is_left(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path / "r", *words, *of("Root"), "explainer=saliency") == 1
    caught = capsys.readouterr()
    (line,) = [each for each in caught.err.splitlines() if each.startswith("error")]
    assert line.startswith("error: no image has a number of rmse, nrmse, cosine at angle=10: ")
    assert "rmse, nrmse, cosine: NaN for 2 of 2 images" in caught.out
    assert len(read(tmp_path / "r")) == 2
    # In a grid the others are complete; a control may be constant.
    grid = ("-m", "explainer=saliency,constant,sobel")
    assert call(tmp_path / "r", *words, *of("Root"), *grid) == 1
    (failed,) = failures(tmp_path / "r")
    assert failed.error.startswith("no image has a number of ")
    assert not failed.is_input
    assert command("report", tmp_path / "r") == 0
