"""What changes the fingerprint of a set of images, and what does not."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from xai_sweep.data import Folder, ImageFile, Samples, fingerprint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "cats").mkdir(parents=True)
    for name, file in zip(("a.png", "cats/b.png"), Samples(limit=2).files(), strict=True):
        shutil.copy(file.path, root / name)
    return root


def of(root: Path) -> str:
    return fingerprint(Folder(str(root)).files())


def test_moving_touching_and_labelling_change_nothing(root: Path) -> None:
    before = of(root)
    moved = root.rename(root.with_name("elsewhere"))
    assert of(moved) == before
    os.utime(moved / "a.png", (0, 0))
    assert of(moved) == before
    files = [replace(file, label="cat") for file in Folder(str(moved)).files()]
    assert fingerprint(files[::-1]) == before


def test_content_and_names_matter(root: Path) -> None:
    prints = [of(root)]
    with (root / "a.png").open("ab") as file:
        file.write(b"\0")
    prints.append(of(root))
    (root / "a.png").rename(root / "z.png")
    prints.append(of(root))
    (root / "z.png").unlink()
    prints.append(of(root))
    assert len(set(prints)) == 4


def test_contents_exchanged_between_names_matter(root: Path) -> None:
    before = of(root)
    (root / "a.png").rename(root / "c.png")
    (root / "cats/b.png").rename(root / "a.png")
    (root / "c.png").rename(root / "cats/b.png")
    assert of(root) != before


def test_a_file_that_cannot_be_read_counts_as_such(tmp_path: Path, root: Path) -> None:
    files = Folder(str(root)).files()
    missing = fingerprint([*files, ImageFile("gone.png", tmp_path / "gone.png")])
    assert missing != fingerprint(files)
    os.mkfifo(tmp_path / "pipe.png")
    assert fingerprint([*files, ImageFile("gone.png", tmp_path / "pipe.png")]) == missing
