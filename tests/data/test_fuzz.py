"""Random metadata, headers, names and tables: a picture, a row or a line, never anything else."""

import csv
import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from xai_sweep.core.errors import InputError
from xai_sweep.data import Folder, UnreadableImage, read_image
from xai_sweep.data.formats import _BEGINNINGS, _SUFFIXES
from xai_sweep.data.reading import read_stack

BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PHOTO = np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1))


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, kind, quality=100)
    return buffer.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")
EXPECTED = np.asarray(Image.open(io.BytesIO(JPEG)).convert("RGB"))


def read(content: bytes, name: str = "a.jpg") -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return np.asarray(read_image(path))


TAGS = st.tuples(
    st.sampled_from([0x100, 0x10F, 0x11A, 0x112, 0x213, 0x8769, 0x8825, 0xA005, 0x9286, 0x501B]),
    st.integers(0, 14),
    st.sampled_from([0, 1, 2, 5, 1000, 2**31, 2**32 - 1]),
    st.binary(min_size=4, max_size=4),
)


@st.composite
def exif(draw: st.DrawFn) -> bytes:
    """A block with any tags of any type, counts and offsets that may lie, and maybe cut off."""
    order = draw(st.sampled_from(["<", ">"]))
    tags = draw(st.lists(TAGS, max_size=6))
    entries = b"".join(struct.pack(f"{order}HHI", *tag[:3]) + tag[3] for tag in tags)
    count = draw(st.sampled_from([len(tags), 0, 200]))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    whole = head + struct.pack(f"{order}H", count) + entries + draw(st.binary(max_size=60))
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


@given(exif() | st.binary(max_size=200))
@BOUNDED
def test_no_exif_makes_a_photo_unreadable(block: bytes) -> None:
    found = read(JPEG[:2] + segment(0xE1, b"Exif\0\0" + block) + JPEG[2:])
    turns = [np.rot90(EXPECTED, turn) for turn in range(4)]
    ways = [way for turn in turns for way in (turn, turn[:, ::-1])]
    assert any(np.array_equal(found, way) for way in ways)


BEGINNINGS = [b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\0\0", b"MPF\0MM\0*", b"Photoshop 3.0\x008BIM"]
BEGINNINGS += [b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta", b"JFIF\0", b"FPXR\0", b""]


@given(st.integers(0xE2, 0xED), st.sampled_from(BEGINNINGS), st.binary(max_size=80))
@BOUNDED
def test_no_segment_makes_a_photo_unreadable(marker: int, beginning: bytes, rest: bytes) -> None:
    content = JPEG[:2] + segment(marker, beginning + rest) + JPEG[2:]
    assert np.array_equal(read(content), EXPECTED)


@given(
    st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"pHYs", b"tIME", b"gAMA"]),
    st.binary(max_size=80) | st.binary(max_size=40).map(lambda t: b"key\0\0" + zlib.compress(t)),
    st.booleans(),
    st.booleans(),
)
@BOUNDED
def test_no_chunk_makes_a_photo_unreadable(
    kind: bytes, content: bytes, is_damaged: bool, is_last: bool
) -> None:
    checksum = zlib.crc32(kind + content) ^ is_damaged
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    at = len(PNG) - 12 if is_last else 33
    assert np.array_equal(read(PNG[:at] + chunk + PNG[at:])[..., 0], PHOTO)


def test_long_texts_make_no_photo_unreadable() -> None:
    for kind, content in (
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 5_000_000)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(5_000_000))),
    ):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        chunk = struct.pack(">I", len(content)) + kind + content + checksum
        assert np.array_equal(read(PNG[:33] + chunk + PNG[33:])[..., 0], PHOTO)


HEADS = [bytes(at) + beginning for _, at, beginning in _BEGINNINGS]


@given(
    st.sampled_from([*HEADS, JPEG[:200], PNG[:60], b""]),
    st.binary(max_size=120),
    st.sampled_from([*_SUFFIXES, ".jpg", ".png", ".tif", ".gif", ".webp", ".jp2", ""]),
)
@settings(BOUNDED, max_examples=150)
def test_any_beginning_is_a_picture_or_a_line(head: bytes, rest: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(head + rest)
        for reading in (read_image, lambda path: read_stack(path, 5)):
            line = ""
            try:
                reading(path)
            except UnreadableImage as error:
                line = str(error)
            assert len(line.splitlines()) <= 1
            assert len(line) < 400


@given(
    st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), max_size=4), st.data()
)
@BOUNDED
def test_any_file_name_is_an_image_or_left_out(names: list[str], drawn: st.DataObject) -> None:
    suffixes = st.sampled_from([".png", ".PNG", "", ".jpg.png", "#1.png", ".7"])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.png").write_bytes(PNG)
        for name in names:
            try:
                whole = os.fsencode(f"{name}{drawn.draw(suffixes)}")
                Path(folder, os.fsdecode(whole)).write_bytes(PNG)
            except (OSError, UnicodeEncodeError):  # the system does not take it
                continue
        files = Folder(folder, frames="all").files()
        assert len({file.image_id for file in files}) == len(files)
        for file in files:
            assert file.image_id.encode()
            assert np.array_equal(np.asarray(read_image(file.path))[..., 0], PHOTO)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    st.lists(st.lists(CELLS | st.sampled_from(["a", "b.png", "label", "id"]), max_size=4)),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@BOUNDED
def test_any_table_is_labels_or_a_line(
    rows: list[list[str]], delimiter: str, quoting: int, end: str, encoding: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([["image", "label"], *rows])
    check_table(text.getvalue().encode(encoding), rows)


@given(st.binary(max_size=100))
@BOUNDED
def test_any_bytes_are_labels_or_a_line(content: bytes) -> None:
    check_table(content, [])


def check_table(content: bytes, rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.png", "b.png"):
            Path(folder, name).write_bytes(PNG)
        Path(folder, "labels.csv").write_bytes(content)
        line, found = "data.labels=", set()
        try:
            found = {file.label for file in Folder(folder).files()} - {None}
        except InputError as error:
            line = str(error)
        assert line.startswith("data.labels=")
        assert len(line.splitlines()) == 1
        assert not rows or found <= {row[1].strip() for row in rows if len(row) > 1}
