"""Boxes of a folder: read from a csv file, checked against the photos, part of the fingerprint."""

from pathlib import Path

import pytest
from PIL import Image

from xai_sweep.core.errors import InputError
from xai_sweep.data import Box, Folder, ImageFile, Samples, fingerprint, require_annotations

HEADER = "image,left,top,right,bottom\n"


def box(left: float, top: float, right: float, bottom: float, label: str | None = None) -> Box:
    return Box(float(left), float(top), float(right), float(bottom), label)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("cats/a.png", "dogs/a.png", "dogs/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(root / name)
    # Shown upright it is 30 pixels wide and 40 high.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(root / "c.jpg", exif=exif)
    return root


def folder(root: Path, content: str, **options: object) -> Folder:
    path = root.parent / "boxes.csv"
    path.write_text(content, encoding="utf-8")
    return Folder(str(root), boxes=str(path), **options)  # type: ignore[arg-type]


def boxes(root: Path, content: str, **options: object) -> dict[str, tuple[Box, ...]]:
    return {file.image_id: file.boxes for file in folder(root, content, **options).files()}


def test_several_boxes_of_an_image_and_none_of_another(root: Path) -> None:
    rows = "cats/a.png,1,2,3.5,30\nb.png,0,0,40,30\ncats/a.png,5,6,7,8\n"
    assert boxes(root, HEADER + rows) == {
        "c.jpg": (),
        "cats/a.png": (box(1, 2, 3.5, 30), box(5, 6, 7, 8)),
        "dogs/a.png": (),
        "dogs/b.png": (box(0, 0, 40, 30),),
    }


def test_labels_any_order_of_columns_and_separators(root: Path) -> None:
    content = "\ufeffbottom;Label;LEFT;top;right;file\n30; tabby;0;0;40;cats\\a.png\n"
    assert boxes(root, content + "9;;1;1;9;./c.jpg\n") == {
        "c.jpg": (box(1, 1, 9, 9),),
        "cats/a.png": (box(0, 0, 40, 30, "tabby"),),
        "dogs/a.png": (),
        "dogs/b.png": (),
    }


def test_the_upright_photo_counts(root: Path) -> None:
    assert boxes(root, HEADER + "c.jpg,0,0,30,40\n")["c.jpg"] == (box(0, 0, 30, 40),)
    with pytest.raises(InputError, match="must lie in the photo of 30 x 40 pixels"):
        boxes(root, HEADER + "c.jpg,0,0,40,30\n")


def test_a_photo_that_cannot_be_read_keeps_its_boxes(root: Path) -> None:
    (root / "dogs/b.png").write_bytes(b"no image")
    assert boxes(root, HEADER + "b.png,0,0,90,90\n")["dogs/b.png"] == (box(0, 0, 90, 90),)


def test_a_photo_beyond_the_limit_is_not_looked_at(root: Path) -> None:
    found = boxes(root, HEADER + "c.jpg,0,0,30,40\ndogs/b.png,0,0,90,90\n", limit=1)
    assert found == {"c.jpg": (box(0, 0, 30, 40),)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "needs a column image (or image_id, file, path, name, id) and the columns left, t"),
        ("image,left,top,right\n", "needs a column image (or image_id, file"),
        ("left,top,right,bottom\n", "needs a column image (or image_id, file"),
        (HEADER, "holds no boxes"),
        (HEADER + "b.png,1,2,3\n", "line 2 has 4 of 5 columns"),
        (HEADER + "b.png,0,0,1,1\nx.png,0,0,1,1\n", "line 3: x.png is the name of none of the im"),
        (HEADER + "a.png,0,0,1,1\n", "line 2: a.png is the name of several images: cats/a.png, d"),
        (HEADER + "b.png,0,0,one,1\n", "line 2: left, top, right, bottom must be numbers"),
        (HEADER + "b.png,0,0,nan,1\n", "line 2: left=0, top=0, right=nan, bottom=1: must have 0 "),
        (HEADER + "b.png,5,0,5,1\n", "line 2: left=5, top=0, right=5, bottom=1: must have 0 <= l"),
        (HEADER + "b.png,0,9,5,1\n", "line 2: left=0, top=9, right=5, bottom=1: must have 0 <= l"),
        (HEADER + "b.png,-1,0,5,1\n", "line 2: left=-1, top=0, right=5, bottom=1: must have 0 <= "),
        (
            HEADER + "b.png,0,0,40.5,1\n",
            "line 2: left=0, top=0, right=40.5, bottom=1: must lie in the photo of 40 x 30 pixels",
        ),
    ],
)
def test_bad_csv_file(root: Path, content: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        folder(root, content).files()
    text = str(error.value)
    assert text.startswith(f"data.boxes={root.parent / 'boxes.csv'}: {message}")
    assert len(text.splitlines()) == 1


def test_missing_csv_file(root: Path) -> None:
    with pytest.raises(InputError, match=r"^data.boxes=nowhere.csv: must be a csv file \(No such"):
        Folder(str(root), boxes="nowhere.csv").files()


def test_boxes_change_the_fingerprint_and_no_boxes_do_not(root: Path) -> None:
    without = fingerprint(Folder(str(root)).files())
    contents = ("b.png,0,0,9,9", "b.png,0,0,9,8", "b.png,0,0,9,9\nb.png,0,0,9,9")
    prints = [fingerprint(folder(root, HEADER + content).files()) for content in contents]
    assert len({without, *prints}) == 4


def test_a_set_without_boxes_has_the_fingerprint_it_always_had(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    found = fingerprint([ImageFile("a.png", tmp_path / "a.png", label="cat")])
    # SHA-256 of the line "a.png\0<SHA-256 of the content>\n".
    assert found == "07a9ee3ab81db9f1b3ccb41eb4518cfec79da7110adbb85bc6812a5353bfe79b"


def test_a_metric_that_needs_annotations_names_the_key(root: Path) -> None:
    require_annotations(Folder(str(root), boxes="boxes.csv"), "pointing_game")
    with pytest.raises(InputError) as error:
        require_annotations(Folder(str(root)), "pointing_game")
    assert str(error.value) == (
        "data.boxes=null: metric pointing_game needs to know where the object is; "
        "data.boxes names a csv file with boxes"
    )
    with pytest.raises(InputError) as error:
        require_annotations(Samples(), "pointing_game", "samples")
    assert str(error.value) == (
        "data=samples: metric pointing_game needs to know where the object is, which this data set "
        "does not say; data=folder does, with data.boxes"
    )
