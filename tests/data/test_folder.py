"""Trees of images, good and bad."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from xai_sweep.core.errors import InputError
from xai_sweep.data import Folder, read_image


def grow(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def ids(folder: Folder) -> list[str]:
    return [file.image_id for file in folder.files()]


def test_any_tree_sorted_by_name(tmp_path: Path) -> None:
    grow(tmp_path, "b.PNG", "a/z.JpEg", "a/deep/er/y.webp", "c.tif", "a.gif", "ä.bmp")
    grow(tmp_path, "notes.txt", "table.csv", "model.h5", "paper.pdf", "film.mpg", "README", "png")
    found = ids(Folder(str(tmp_path)))
    assert found == ["a.gif", "a/deep/er/y.webp", "a/z.JpEg", "b.PNG", "c.tif", "ä.bmp"]
    assert ids(Folder(str(tmp_path), limit=2)) == found[:2]


def test_names_do_not_depend_on_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path / "photos", "cats/a.png")
    before = ids(Folder(str(tmp_path / "photos")))
    (tmp_path / "photos").rename(tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    assert (
        before == ids(Folder("renamed/")) == ids(Folder("./renamed/../renamed")) == ["cats/a.png"]
    )


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, "photos/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ids(Folder("~/photos")) == ["a.png"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    grow(tmp_path, "a.png", ".b.png", ".cache/c.png", "__MACOSX/._a.png")
    assert ids(Folder(str(tmp_path))) == ["a.png"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = grow(tmp_path / "root", "a/x.png", "b/y.png")
    grow(tmp_path / "other", "z.png")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a/up").symlink_to(root)
    (root / "a/b").symlink_to(root / "b")
    (root / "b/a").symlink_to(root / "a")
    (root / "self").symlink_to("self")
    (root / "gone.png").symlink_to("nowhere.png")
    found = ids(Folder(str(root)))
    assert found == ["a/b/y.png", "a/x.png", "b/a/x.png", "b/y.png", "gone.png", "linked/z.png"]


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")  # noqa: PTH104
    (file,) = Folder(str(tmp_path)).files()
    assert file.image_id == r"\xff.png"
    assert read_image(file.path).size == (1, 1)


def test_a_folder_that_looks_like_an_image(tmp_path: Path) -> None:
    assert ids(Folder(str(grow(tmp_path, "a.png/b.png")))) == ["a.png/b.png"]


def test_a_locked_sub_folder_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(folder: Path) -> Iterator[Path]:  # by hand, because root may list everything
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", guarded)
    grow(tmp_path, "a.png", "locked/b.png")
    assert ids(Folder(str(tmp_path))) == ["a.png"]
    assert "locked is left out: Permission denied" in caplog.text


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (None, "data.root=null: a folder of images is needed"),
        ("missing", "data.root=missing: there is no such folder; a folder of images is needed"),
        ("a.txt", "data.root=a.txt: is not a folder; a folder of images is needed"),
        ("empty", "data.root=empty: no image in this folder or below it"),
        ("texts", "data.root=texts: no image in this folder or below it"),
    ],
)
def test_bad_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str | None, message: str
) -> None:
    grow(tmp_path, "a.txt", "texts/a.txt")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        Folder(root).files()
    assert str(error.value) == message


@pytest.mark.parametrize("limit", [0, -3])
def test_bad_limit(tmp_path: Path, limit: int) -> None:
    with pytest.raises(InputError, match=f"^data.limit={limit}: must be a whole number of at"):
        Folder(str(grow(tmp_path, "a.png")), limit=limit).files()
