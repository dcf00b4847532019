"""Where true classes come from."""

from pathlib import Path

import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.data import Folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/a.png", "dog/old/b.png", "c.png"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "root"


def labels(root: Path, csv: Path | None = None) -> dict[str, str | None]:
    files = Folder(str(root), labels=None if csv is None else str(csv)).files()
    return {file.image_id: file.label for file in files}


def test_from_the_first_sub_folder(root: Path) -> None:
    assert labels(root) == {"c.png": None, "cat/a.png": "cat", "dog/old/b.png": "dog"}


def test_none_without_sub_folders(root: Path) -> None:
    assert labels(root / "cat") == {"a.png": None}


@pytest.mark.parametrize(
    "text",
    [
        "image_id,label\ncat/a.png,lynx\nc.png,tabby\n",
        "\ufefflabel;ignored;File\nlynx;0;cat\\a.png\ntabby;1;./c.png\n\nbroken\n",
        'filename\tclass\na.png\t lynx\nc.png\t"tabby"\ndog/old/b.png\t\n',
    ],
)
def test_from_a_csv_file(root: Path, text: str) -> None:
    (root / "labels.csv").write_text(text, encoding="utf-8")
    expected = {"c.png": "tabby", "cat/a.png": "lynx", "dog/old/b.png": None}
    assert labels(root) == expected
    elsewhere = (root / "labels.csv").rename(root.parent / "mine.csv")
    assert labels(root, elsewhere) == expected


def test_a_full_name_wins_over_a_bare_one(root: Path) -> None:
    (root / "labels.csv").write_text("path,label\na.png,bare\ncat/a.png,full\n")
    assert labels(root)["cat/a.png"] == "full"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs a column image_id or file"),
        (b"image_id,kind\nc.png,tabby\n", "needs a column image_id or file"),
        (
            b"image_id,label\nother.png,tabby\n",
            "names none of the images; the first of them is c.png",
        ),
        (b"image_id,label\n\xff,tabby\n", "must be a csv file in UTF-8"),
    ],
)
def test_bad_csv_file(root: Path, content: bytes, message: str) -> None:
    path = root / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        labels(root)
    assert str(error.value).startswith(f"data.labels={path}: {message}")


def test_missing_csv_file(root: Path) -> None:
    with pytest.raises(InputError, match="must be a csv file in UTF-8"):
        labels(root, root / "missing.csv")
