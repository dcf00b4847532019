"""Trees of images, good and bad."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
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


def test_hidden_files_and_what_systems_leave_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grow(tmp_path, "a.png", ".b.png", ".cache/c.png", "__MACOSX/._a.png", "._a.png", "d/._b.png")
    grow(tmp_path, "@eaDir/a.png/thumb.jpg", "d/@eaDir/x.jpg", "Thumbs.db", "d/desktop.ini")
    grow(tmp_path, "d/.DS_Store")
    assert ids(Folder(str(tmp_path))) == ["a.png"]
    (message,) = caplog.messages
    assert message == (
        f"data.root={tmp_path}: left out hidden files or those of the system (._* 2, @eaDir 2, "
        "hidden 2, .DS_Store 1, Thumbs.db 1, __MACOSX 1, ...)"
    )


def test_what_is_no_image_is_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grow(tmp_path, "a.png", "README", "x.CR2", *(f"{number}.txt" for number in range(3)))
    np.save(tmp_path / "features.npy", np.zeros((4, 4)))
    assert ids(Folder(str(tmp_path))) == ["a.png"]
    assert caplog.messages == [
        f"data.root={tmp_path}: left out 6 files that are no images "
        "(.txt 3, .cr2 1, .npy 1, without extension 1)"
    ]


def test_arrays_are_images_where_there_are_no_others(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.zeros((4, 4)))
    np.savez(tmp_path / "a.npz", np.zeros((4, 4)))
    assert ids(Folder(str(tmp_path))) == ["a.npz", "b.npy"]


def test_files_without_an_extension_are_known_by_their_content(tmp_path: Path) -> None:
    image = Image.new("RGB", (3, 2))
    names = ("photo", "1.2.840.10008", "scan.7", "a photo of v. Goethe", "IMG.2024-05-17")
    for name, kind in zip(names, ("PNG", "JPEG", "TIFF", "GIF", "WEBP"), strict=True):
        image.save(tmp_path / name, kind)
    grow(tmp_path, "README", "empty")
    (tmp_path / "notes").write_text("no photo")
    (tmp_path / "gone").symlink_to("nowhere")
    files = Folder(str(tmp_path)).files()
    assert {file.image_id for file in files} == {*names}
    assert all(read_image(file.path).size == (3, 2) for file in files)


def test_every_frame(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 20, 30)]
    frames[0].save(tmp_path / "b.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.png")
    (tmp_path / "c.gif").write_bytes(b"GIF89a")
    assert ids(Folder(str(tmp_path))) == ["a.png", "b.tif", "c.gif"]
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\nb.tif,cat\n")
    folder = Folder(str(tmp_path), frames="all")
    files = folder.files()
    assert [file.image_id for file in files] == ["a.png", "b.tif#1", "b.tif#2", "b.tif#3", "c.gif"]
    assert [file.label for file in files[1:4]] == ["cat"] * 3
    greys = [np.asarray(read_image(file.path, file.frame)).max() for file in files[:4]]
    assert greys == [10, 10, 20, 30]
    assert len(Folder(str(tmp_path), frames="all", limit=2).files()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": "last"}, "data.frames=last: must be one of first, all"),
        ({"black": 10}, "data.white=null: must be given where data.black is"),
        ({"white": 0}, "data.white=0.0: must be above 0, black"),
        ({"black": 10, "white": 5}, "data.white=5.0: must be above 10, black"),
        ({"white": "bright"}, "data.white=bright: must be a number or null"),
    ],
)
def test_bad_frames_and_levels(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        Folder(str(grow(tmp_path, "a.png")), **options).files()
    assert str(error.value) == message


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
        ("empty", "data.root=empty: no image in this folder or below it; name another"),
        (
            "texts",
            "data.root=texts: no image in this folder or below it; "
            "found 1 file that is no image (.txt 1); name another",
        ),
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
