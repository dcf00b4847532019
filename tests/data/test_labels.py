"""Where true classes come from."""

import unicodedata
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
        (b"", "needs a column image (or image_id, file, path, name, id) and a column label (or "),
        (b"image_id,kind,split\nc.png,tabby,1\n", "needs a column image (or image_id, file, pa"),
        (
            b"image_id,label\nother.png,tabby\n",
            "names none of the images: it says other.png, the first image is c.png; "
            "data.labels=none goes on without labels",
        ),
        (b"image_id,label\n\x81,tabby\n", "must be a csv file in UTF-8 (character maps to <un"),
        (b"image_id\0,label\n", "must be a csv file in UTF-8 (it holds zero bytes)"),
        (b'image_id,label\n"' + b"a" * 200_000, "must be a csv file (field larger than field"),
        (
            b"image,label\nc.png,tabby\nc,lynx\nc.png,lynx\n",
            "line 4: c.png has two labels, tabby and lynx; data.labels=none goes on without labels",
        ),
        (b"image,label\n", "names none of the images: it says nothing, the first image is c.png"),
    ],
)
def test_bad_csv_file(root: Path, content: bytes, message: str) -> None:
    path = root / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        labels(root)
    assert str(error.value).startswith(f"data.labels={path}: {message}")


def test_missing_csv_file(root: Path) -> None:
    with pytest.raises(InputError, match=r"must be a csv file \(No such file or directory\)"):
        labels(root, root / "missing.csv")


def test_none_is_none(root: Path) -> None:
    (root / "labels.csv").write_text("whatever")
    assert set(labels(root, Path("none")).values()) == {None}


EXPECTED = {"c.png": "tabby", "cat/a.png": "lynx", "dog/old/b.png": None}


@pytest.mark.parametrize(
    "text",
    [
        "id,breed\na,lynx\nc,tabby\n",  # Kaggle's, without extensions
        "Id;Class\r\nA.PNG;lynx\r\nC.Png;tabby\r\n",
        "name|target\ncat\\a|lynx\nc|tabby\n",
        "sep=;\nimage;y\na.png;lynx\nc.png;tabby\n",
        'filename,species\n"a.png","lynx"\n"c.png","tabby"\n',
        "path,category,split\n/data/photos/cat/a.png,lynx,train\n./photos/c.png,tabby,test\n",
        "a.png,lynx\nc.png,tabby\n",  # no header
        "a.png lynx\nc.png tabby\n",
        "lynx\ta\ntabby\tc\n",
        "image,kind of cat\na.png,lynx\nc.png,tabby\n",
        "picture,label\na.png,lynx\nc.png,tabby\n",
        "image_id,id,label,class\na.png,7,lynx,3\nc.png,8,tabby,4\n",
        "image,label\na.png,lynx\na.png,lynx\nc.png,tabby\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_many_forms(root: Path, text: str, encoding: str) -> None:
    (root / "labels.csv").write_bytes(text.encode(encoding))
    assert labels(root) == EXPECTED


def test_letters_composed_in_another_way_and_old_encodings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Kätzchen.png")).write_bytes(b"")
    table = tmp_path / "labels.csv"
    for encoding, said in (("utf-8", False), ("cp1252", True)):
        caplog.clear()
        table.write_bytes("Bild,label\nKätzchen.png,süß\n".encode(encoding))
        (file,) = Folder(str(tmp_path)).files()
        assert file.label == "süß"
        assert any("is read as cp1252" in message for message in caplog.messages) == said


def test_what_does_not_match_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "labels.csv").write_text("image_id,label\na,pug\nx.png,dingo\n")
    assert labels(root)["cat/a.png"] == "pug"
    assert (
        f"data.labels={root / 'labels.csv'}: 1 of 2 rows name an image, 1 of 3 images have a label"
        in caplog.messages
    )


def test_a_bare_name_is_that_of_every_image_with_it(root: Path) -> None:
    (root / "dog/a.png").write_bytes(b"")
    (root / "labels.csv").write_text("id,label\na,both\ndog/a,one\n")
    assert labels(root)["cat/a.png"] == "both"
    assert labels(root)["dog/a.png"] == "one"
