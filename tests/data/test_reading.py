"""Exact pixels of every kind of image, and a line for every kind of bad file."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from xai_sweep.data import UnreadableImage, read_image

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(image: Image.Image, name: str, **options: object) -> Path:
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def pixels(path: Path) -> list[tuple[int, ...]]:
    image = read_image(path)
    assert image.mode == "RGB"
    return [tuple(row) for row in np.asarray(image).reshape(-1, 3).tolist()]


def grey(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


def test_a_photograph_is_read_as_it_is(save: Save) -> None:
    photo = data.chelsea()
    assert np.array_equal(np.asarray(read_image(save(Image.fromarray(photo), "a.png"))), photo)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),  # turned clockwise to be shown
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation(
    save: Save, orientation: int, turned: Callable[[np.ndarray], np.ndarray]
) -> None:
    photo = data.chelsea()[:40, :60]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("turned.png", "turned.tif"):
        path = save(Image.fromarray(photo), name, exif=exif)
        assert np.array_equal(np.asarray(read_image(path)), turned(photo))
    deep = photo[..., 0].astype(np.uint16) * 257
    path = save(Image.fromarray(deep), "deep.tif", exif=exif)
    assert np.array_equal(np.asarray(read_image(path))[..., 0], turned(photo)[..., 0])


ODD = [
    (0x11A, 2, 4, b"72\0\0"),  # a resolution as text
    (0x8825, 4, 1, b"\xff\xff\xff\x7f"),  # GPS beyond the end of the file
    (0x8769, 4, 1, b"\x08\0\0\0"),  # a directory inside itself
    (0x10F, 2, 2**31, b"\0\0\0\0"),  # text without end
    (0x9286, 77, 3, b"abc\0"),  # an unknown type
]
# A negative width; a TIFF file has no pixels without its own.
WIDTH = (0x100, 9, 1, b"\xff" * 4)


@pytest.mark.parametrize(
    ("kind", "odd"),
    [*((kind, odd) for kind in ("jpg", "png", "webp", "tif") for odd in ODD), ("jpg", WIDTH)],
)
def test_odd_metadata_beside_the_orientation(
    tmp_path: Path, odd: tuple[int, int, int, bytes], kind: str
) -> None:
    tags = sorted([(0x112, 3, 1, b"\6\0\0\0"), odd])
    entries = b"".join(struct.pack("<HHI4s", *tag) for tag in tags)
    path = tmp_path / f"a.{kind}"
    image = Image.fromarray(np.tile(np.arange(96, dtype=np.uint8), (64, 1)))
    if kind == "tif":  # whose own directory holds the tags
        image.save(path)
        content = bytearray(path.read_bytes())
        (start,) = struct.unpack_from("<I", content, 4)
        (count,) = struct.unpack_from("<H", content, start)
        own = {struct.unpack_from("<H", content, start + 2 + 12 * at)[0]: at for at in range(count)}
        kept = [
            bytes(content[start + 2 + 12 * at :][:12]) for tag, at in own.items() if tag != odd[0]
        ]
        kept = sorted([*kept, *(struct.pack("<HHI4s", *tag) for tag in tags)])
        directory = struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)
        content[4:8] = struct.pack("<I", len(content))
        path.write_bytes(bytes(content) + directory)
    else:
        exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
        image.save(path, exif=exif)
    assert read_image(path).size == (64, 96)


def test_an_orientation_before_the_end_of_damaged_exif_counts(tmp_path: Path) -> None:
    entry = struct.pack("<HHI4s", 0x112, 3, 1, b"\6\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 40) + entry + b"\x1a\1"
    path = tmp_path / "a.jpg"
    Image.new("L", (96, 64)).save(path, exif=exif)
    assert read_image(path).size == (64, 96)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing(save: Save, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert read_image(save(Image.new("L", (96, 64)), "a.jpg", exif=exif)).size == (96, 64)


def test_transparent_pixels_are_laid_over_white(save: Save) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 51)])
    assert pixels(save(image, "a.png")) == [(10, 20, 30), (255, 255, 255), (204, 204, 204)]


def test_grey_with_alpha(save: Save) -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(7, 255), (7, 0)])
    assert pixels(save(image, "a.png")) == grey(7, 255)


def test_palette(save: Save) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([1, 0])
    assert pixels(save(image, "a.png")) == [(200, 100, 50), (1, 2, 3)]
    assert pixels(save(image, "b.png", transparency=0)) == [(200, 100, 50), (255, 255, 255)]
    assert pixels(save(image, "c.gif", transparency=0)) == [(200, 100, 50), (255, 255, 255)]


def test_one_transparent_colour_without_palette(save: Save) -> None:
    image = Image.new("RGB", (2, 1), (9, 8, 7))
    image.putpixel((1, 0), (1, 2, 3))
    assert pixels(save(image, "a.png", transparency=(1, 2, 3))) == [(9, 8, 7), (255, 255, 255)]


def test_grey_and_black_and_white(save: Save) -> None:
    image = Image.new("L", (2, 1))
    image.putdata([0, 137])
    assert pixels(save(image, "grey.png")) == grey(0, 137)
    bits = Image.new("1", (2, 1))
    bits.putdata([255, 0])
    assert pixels(save(bits, "bits.png")) == grey(255, 0)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(save: Save, name: str) -> None:
    values = np.array([[0, 256, 257, 32896, 65535]], dtype=np.uint16)
    # 257 grey levels of 16 bits to each one of 8: 256 / 257 = 0.996, 32896 / 257 = 128.
    assert pixels(save(Image.fromarray(values), name)) == grey(0, 1, 1, 128, 255)


def test_16_bit_grey_with_the_large_byte_first(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.array([[0, 257, 32896, 65535]], dtype=">u2")
    entries = [(256, 4), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    entries.append((279, 8))
    ifd = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    head = b"MM\0*" + struct.pack(">I", 16) + values.tobytes()
    path.write_bytes(head + struct.pack(">H", len(entries)) + ifd + bytes(4))
    with Image.open(path) as image:
        assert image.mode == "I;16B"
    assert pixels(path) == grey(0, 1, 128, 255)


def test_32_bit_integers(save: Save) -> None:
    sixteen = np.array([[0, 257, 65535]], dtype=np.int32)
    assert pixels(save(Image.fromarray(sixteen), "a.tif")) == grey(0, 1, 255)
    beyond = save(Image.fromarray(np.array([[-1000, 0, 99000]], dtype=np.int32)), "b.tif")
    with pytest.raises(UnreadableImage, match=r"has values from -1000 to 99000; data.black"):
        read_image(beyond)
    assert np.asarray(read_image(beyond, 0, -1000.0, 99000.0))[0, :, 0].tolist() == [0, 3, 255]


def test_floating_point(save: Save) -> None:
    unit = np.array([[0.0, 0.2, 0.8]], dtype=np.float32)
    assert pixels(save(Image.fromarray(unit), "a.tif")) == grey(0, 51, 204)
    beyond = save(Image.fromarray(np.array([[-1.0, 1.0, 3.0]], dtype=np.float32)), "b.tif")
    with pytest.raises(UnreadableImage, match=r"has values from -1 to 3; data.black and"):
        read_image(beyond)
    assert np.asarray(read_image(beyond, 0, -1.0, 3.0))[0, :, 0].tolist() == [0, 128, 255]
    assert np.asarray(read_image(beyond, white=2.0))[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_that_is_not_a_number(save: Save) -> None:
    path = save(Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)), "a.tif")
    with pytest.raises(UnreadableImage, match="infinite or not a number"):
        read_image(path)


def test_cmyk(save: Save) -> None:
    image = Image.new("CMYK", (2, 1))
    image.putdata([(0, 0, 0, 0), (255, 0, 0, 0)])
    assert pixels(save(image, "a.tif")) == [(255, 255, 255), (0, 255, 255)]


def test_lab(save: Save) -> None:
    colours = Image.new("RGB", (2, 1))
    colours.putdata([(200, 100, 50), (30, 60, 90)])
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(colours, *profiles, outputMode="LAB")
    assert lab is not None
    found = pixels(save(lab, "a.tif"))
    assert np.abs(np.array(found) - np.array([(200, 100, 50), (30, 60, 90)])).max() <= 2


def test_the_first_frame_is_taken(save: Save) -> None:
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("red", "blue")]
    assert pixels(save(frames[0], "a.gif", save_all=True, append_images=frames[1:])) == [
        (255, 0, 0)
    ]


def truncated(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, name)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def huge_png() -> bytes:
    """One hundred bytes that claim to be 10^10 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"this is no image", "not an image Pillow knows"),
        (bytes(4096), "not an image Pillow knows"),
        (b"\xff\xd8\xff\xe0", ""),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"GIF89a", ""),
        (b"II*\0\xff\xff\xff\xff", ""),
        (truncated("PNG"), "truncated"),
        (truncated("JPEG"), "truncated"),
        (truncated("WEBP"), ""),
        (truncated("TIFF"), ""),
        (truncated("BMP"), "truncated"),
        (truncated("GIF"), ""),
        (huge_png(), "decompression bomb"),
    ],
)
def test_bad_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage) as error:
        read_image(path)
    text = str(error.value)
    assert text.startswith("unreadable image: ")
    assert message in text
    assert len(text.splitlines()) == 1
    assert str(tmp_path) not in text, "the row names the path already"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "PPM", "TGA", "ICO"])
def test_damaged_bytes_never_crash(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()[:16, :16]).save(buffer, kind)
    content = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    random = np.random.default_rng(0)
    outcomes = set()
    for trial in range(40):
        damaged = content.copy()
        damaged[random.integers(len(damaged), size=1 + trial % 4)] = random.integers(256)
        path = tmp_path / f"{trial}.img"
        path.write_bytes(damaged.tobytes())
        try:
            outcomes.add(read_image(path).mode)
        except UnreadableImage as error:
            outcomes.add(len(str(error).splitlines()))
    assert outcomes <= {"RGB", 1}


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="unreadable image: No such file or directory"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(UnreadableImage, match="not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="not a file"):
        read_image(tmp_path / "pipe.png")


def test_without_permission(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path, mode: str) -> None:  # by hand, because root may read everything
        raise PermissionError(13, "Permission denied", str(path))

    path = save(Image.new("L", (1, 1)), "a.png")
    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(UnreadableImage, match="Permission denied"):
        read_image(path)
