"""Whole jobs with networks of one channel and of five, and with images of many kinds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from harness import call, read
from PIL import Image
from torch import Tensor, nn

from xai_sweep.results import Heatmaps, heatmaps


class Small(nn.Module):
    """Two convolutions for any number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(maps.mean(dim=(2, 3)))


def words(folder: Path, channels: int) -> tuple[str, ...]:
    torch.manual_seed(0)
    torch.save(Small(channels).state_dict(), folder / "small.pt")
    numbers = ",".join(["0.4"] * channels)
    return (
        *("model=checkpoint", f"model.architecture={__name__}:Small", "model.size=[24,32]"),
        *(f"+model.arguments.channels={channels}", f"model.path={folder / 'small.pt'}"),
        *(f"model.mean=[{numbers}]", f"model.std=[{numbers}]", "ranks=1", "logger=none"),
        *("data=folder", f"data.root={folder / 'photos'}", "explainer=grad_cam"),
    )


def stored(results: Path) -> list[Heatmaps]:
    found = [heatmaps(cell) for cell in sorted((results / "cells").iterdir())]
    return [kept for kept in found if kept is not None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


SHORT = ("transform.angle=[10]", "metric=[rmse]", "keep_heatmaps=all")
DICE = np.random.default_rng(0)


def test_grey(tmp_path: Path, photos: Path) -> None:
    pixels = DICE.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "a.png")
    Image.fromarray(pixels[..., 0]).save(photos / "b.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 16).save(photos / "c.png")
    results = tmp_path / "results"
    assert call(results, *words(tmp_path, 1), "model.channels=1", *SHORT) == 0
    rows = read(results)
    assert rows["error"].isna().all()
    (kept,) = stored(results)
    assert kept.photo.shape == (3, 24, 32, 1)
    by_name = dict(zip(kept.image_id, kept.photo.astype(int), strict=True))
    # 12 bits in 16 are the photo of 8 bits, up to 4080 / 4095.
    assert np.abs(by_name["b.png"] - by_name["c.png"]).max() <= 2
    assert list((results / "_figures").rglob("*.png"))


def test_a_stack_of_five(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        np.save(photos / f"{name}.npy", DICE.random((5, 40, 48), dtype=np.float32))
    np.save(photos / "d.npy", DICE.random((40, 48, 4), dtype=np.float32))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,left,top,right,bottom\na,10,10,30,30\nb,0,0,48,40\n")
    results = tmp_path / "results"
    several = ("-m", "transform=rotation,gaussian_noise,brightness", "magnitude.angle=[10]")
    several = (*several, "magnitude.sigma=[0.1]", "magnitude.shift=[0.1]")
    measured = ("metric=[rmse,ssim,deletion,pointing_game]", f"data.boxes={boxes}")
    assert call(results, *several, *words(tmp_path, 5), *measured, "keep_heatmaps=all") == 0
    rows = read(results)
    failed = rows[rows["error"].notna()]
    assert set(failed["image_id"]) == {"d.npy"}
    reason = "unreadable image: is 40 x 48 x 4, the network takes pictures of 5 channels"
    assert set(failed["error"]) == {reason}
    assert f"failed    1 image: d.npy: {reason}" in capsys.readouterr().out
    assert set(rows["transform"]) == {"rotation", "gaussian_noise", "brightness"}
    assert rows.loc[rows["error"].isna(), ["rmse", "ssim", "deletion"]].notna().all(axis=None)
    assert [kept.photo.shape for kept in stored(results)] == [(3, 24, 32, 5)] * 3
    assert list((results / "_figures").rglob("*.png"))


def test_other_channels_than_the_network_has_are_one_line(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 40)).save(photos / "a.png")
    given = words(tmp_path, 1)
    wrong = ("model.mean=[0.5,0.5,0.5]", "model.std=[0.5,0.5,0.5]")
    assert call(tmp_path / "results", *given, *wrong, *SHORT) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: model")
    assert "8, 1, 3, 3" in line
