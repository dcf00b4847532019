"""Formats beyond Pillow's own, arrays and stacks, and the depth of a set."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pillow_jxl
import pytest
import tifffile
from PIL import Image, features
from skimage import data

from xai_sweep.data import Folder, ImageFile, UnreadableImage, fingerprint, formats, read_image
from xai_sweep.data.arrays import layers, unit
from xai_sweep.data.levels import with_common_white
from xai_sweep.data.reading import read_stack

PHOTO = data.chelsea()[100:164, 100:196]
DICE = np.random.default_rng(0)


def png16(pixels: np.ndarray) -> bytes:
    """A PNG file with 16 bits per channel, by hand: Pillow writes no colours of 16 bits."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.heic", {"format": "HEIF", "quality": 95}),
        ("named_as_usual.jpg", {"format": "HEIF", "quality": 95}),
        ("a.jxl", {"lossless": True}),
        ("a.avif", {"quality": 95}),
    ],
)
def test_formats_of_phones(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    pillow_heif.register_heif_opener()
    assert features.check("avif")
    assert pillow_jxl
    Image.fromarray(PHOTO).save(tmp_path / name, **options)
    (file,) = Folder(str(tmp_path)).files()
    found = np.asarray(read_image(file.path)).astype(int)
    assert np.abs(found - PHOTO).mean() < 4


def test_heic_and_jpeg_xl_are_upright(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "a.heic", exif=exif.tobytes())
    assert read_image(tmp_path / "a.heic").size == (64, 96)
    Image.fromarray(PHOTO).save(tmp_path / "a.avif", exif=exif.tobytes())
    assert read_image(tmp_path / "a.avif").size == (64, 96)
    # In JPEG XL the orientation of the pixels counts, and EXIF's is a remark (ISO/IEC 18181-2).
    Image.fromarray(PHOTO).save(tmp_path / "a.jxl", exif=exif.tobytes())
    assert read_image(tmp_path / "a.jxl").size == (96, 64)


@pytest.mark.parametrize(
    ("name", "package", "needed"),
    [
        ("a.heic", "pillow_heif", "HEIC needs pip install 'xai_sweep[formats]'"),
        ("a.jxl", "pillow_jxl", "JXL needs pip install 'xai_sweep[formats]'"),
        ("a.dcm", "pydicom", "DICOM needs pip install 'xai_sweep[dicom]'"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, needed: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    formats.make_ready.cache_clear()
    (tmp_path / name).write_bytes(bytes(100))
    (file,) = Folder(str(tmp_path)).files()
    with pytest.raises(UnreadableImage) as error:
        read_image(file.path)
    assert str(error.value) == f"unreadable image: {needed}"


def test_damaged_heic_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(UnreadableImage, match="HEIC"):
        read_image(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colours_of_16_bits_keep_them(tmp_path: Path, channels: int) -> None:
    pixels = DICE.integers(0, 4096, (5, 7, channels)).astype(np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 4095
    (tmp_path / "a.png").write_bytes(png16(pixels))
    expected = np.round(pixels[..., : 1 if channels < 3 else 3] / 4095 * 255)
    found = np.asarray(read_image(tmp_path / "a.png", white=4095.0))
    assert np.array_equal(found, np.broadcast_to(expected, (5, 7, 3)))
    if channels == 3:
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
        assert np.array_equal(read_image(tmp_path / "a.tif", white=4095.0), found)
        tifffile.imwrite(
            *(tmp_path / "b.tif", np.moveaxis(pixels, -1, 0)),
            photometric="rgb",
            planarconfig="separate",
        )
        assert np.array_equal(read_image(tmp_path / "b.tif", white=4095.0), found)


def test_transparency_of_16_bits(tmp_path: Path) -> None:
    half = np.array([[[0, 65535, 0, 32768]]], dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png16(half))
    assert np.asarray(read_image(tmp_path / "a.png")).tolist() == [[[127, 255, 127]]]
    tifffile.imwrite(tmp_path / "a.tif", half, photometric="rgb", extrasamples=["unassalpha"])
    assert np.asarray(read_image(tmp_path / "a.tif")).tolist() == [[[127, 255, 127]]]


@pytest.mark.parametrize("bits", [8, 16])
def test_white_is_zero(tmp_path: Path, bits: int) -> None:
    pixels = np.array([[0, 1, 2**bits - 1]], dtype=f"u{bits // 8}")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    grey = [255, 254 if bits == 8 else 255, 0]
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == grey
    stack = read_stack(tmp_path / "a.tif", 1)
    assert np.allclose(stack[0, 0], 1 - pixels[0] / (2**bits - 1))


STACK = DICE.random((5, 6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("chw.npy", lambda path: np.save(path, STACK)),
        ("hwc.npy", lambda path: np.save(path, np.moveaxis(STACK, 0, -1))),
        ("frames.npy", lambda path: np.save(path, STACK[None])),
        ("one.npz", lambda path: np.savez(path, STACK)),
        (
            "bands.npz",
            lambda path: np.savez(path, **{f"b{i}": band for i, band in enumerate(STACK)}),
        ),
        ("pages.tif", lambda path: tifffile.imwrite(path, STACK, photometric="minisblack")),
        (
            "contiguous.tif",
            lambda path: tifffile.imwrite(
                path, np.moveaxis(STACK, 0, -1), photometric="minisblack", planarconfig="contig"
            ),
        ),
        (
            "separate.tif",
            lambda path: tifffile.imwrite(
                path, STACK, photometric="minisblack", planarconfig="separate"
            ),
        ),
    ],
)
def test_stacks(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    assert np.allclose(read_stack(tmp_path / name, 5), STACK)
    with pytest.raises(UnreadableImage, match=r"is .*, the network takes pictures of 4 channels"):
        read_stack(tmp_path / name, 4)


def test_eight_bits_and_bands_of_a_photo(tmp_path: Path) -> None:
    pixels = DICE.integers(0, 256, (6, 8, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_stack(tmp_path / "a.tif", 5) * 255, np.moveaxis(pixels, -1, 0))
    Image.fromarray(pixels[..., :4], "RGBA").save(tmp_path / "a.png")
    found = read_stack(tmp_path / "a.png", 4)
    assert np.array_equal((found * 255).round(), np.moveaxis(pixels[..., :4], -1, 0))
    with pytest.raises(UnreadableImage, match="is 6 x 8 x 4, the network takes pictures of 5 chan"):
        read_stack(tmp_path / "a.png", 5)


@pytest.mark.parametrize(
    ("shape", "channels", "result"),
    [
        ((4, 6), None, (4, 6, 1)),
        ((4, 6, 3), None, (4, 6, 3)),
        ((3, 4, 6), None, (4, 6, 3)),
        ((1, 4, 6), None, (4, 6, 1)),
        ((4, 6, 1), None, (4, 6, 1)),
        ((1, 1, 3), None, (1, 1, 3)),
        ((5, 4, 6), 5, (4, 6, 5)),
        ((5, 4, 5), 5, None),
        ((3, 4, 3), None, None),
        ((4,), None, None),
        ((0, 4), None, None),
        ((4, 6, 2), None, None),
        ((2, 3, 4, 5), None, None),
    ],
)
def test_axes(shape: tuple[int, ...], channels: int | None, result: tuple[int, ...] | None) -> None:
    if result is None:
        with pytest.raises(ValueError, match=r"^is "):
            layers(np.zeros(shape), channels)
    else:
        assert layers(np.zeros(shape), channels).shape == result


def test_arrays_that_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, message in (
        (np.array([{}]), "Python objects"),
        (np.array([["a"]]), "holds <U1, not numbers"),
        (np.array([[0.0, np.nan]]), "infinite or not a number"),
        (np.array([[-1, 2]]), r"has values from -1 to 2; data.black and data.white say what"),
    ):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(UnreadableImage, match=message):
            read_image(path)


def test_arrays_that_would_fill_the_memory(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(header, shape)
    path = tmp_path / "a.npy"
    path.write_bytes(header.getvalue())
    with path.open("r+b") as file:
        file.truncate(8 * 10**12 + 1000)  # a sparse file
    with pytest.raises(UnreadableImage, match="could be a decompression bomb"):
        read_image(path)


@pytest.mark.parametrize(
    ("largest", "white"),
    [(255, 255), (1000, 1023), (4000, 4095), (9000, 2**14 - 1), (60000, 65535)],
)
def test_whole_numbers_are_of_the_smallest_depth(largest: int, white: int) -> None:
    values = np.array([0, largest // 2, largest], dtype=np.uint16)
    assert np.allclose(unit(values), values / white)
    assert np.allclose(unit(values, white=8000.0), (values / 8000).clip(0, 1))
    assert np.allclose(unit(values, 100.0, 8000.0), ((values - 100.0) / 7900).clip(0, 1))


class TestOneWhiteForASet:
    def folder(self, tmp_path: Path, *largest: int, **options: object) -> Folder:
        for index, value in enumerate(largest):
            pixels = np.array([[0, value]], dtype=np.uint16)
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        Image.fromarray(PHOTO).save(tmp_path / "photo.png")
        Image.fromarray(PHOTO).save(tmp_path / "photo.jpg")
        return Folder(str(tmp_path), **options)  # type: ignore[arg-type]

    def whites(self, folder: Folder) -> list[float | None]:
        return [file.white for file in with_common_white(folder.files())]

    def test_the_largest_value_of_all_decides(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.whites(self.folder(tmp_path, 700, 3000)) == [4095, 4095, None, None]
        assert caplog.messages == [
            "the images of 16 bits hold no value above 3000 and are read as 12 bits; "
            "data.white=4095 says so, data.white=65535 reads them as they are"
        ]

    def test_a_dark_image_beside_a_bright_one_stays_dark(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        files = with_common_white(self.folder(tmp_path, 700, 40_000).files())
        assert [file.white for file in files] == [65535, None, None, None]
        assert np.asarray(read_image(files[0].path, white=files[0].white)).max() == 3
        assert not caplog.messages

    def test_bright_ones_keep_their_fingerprint(self, tmp_path: Path) -> None:
        files = self.folder(tmp_path, 50_000, 40_000, 0).files()
        assert fingerprint(with_common_white(files)) == fingerprint(files)

    def test_what_is_given_counts(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        given = self.folder(tmp_path, 700, white=1000)
        assert self.whites(given) == [1000, 1000, 1000]
        assert not caplog.messages
        plain = Folder(str(tmp_path)).files()
        assert fingerprint(given.files()) != fingerprint(plain)

    def test_every_kind_of_16_bits(self, tmp_path: Path) -> None:
        pixels = DICE.integers(0, 900, (4, 5, 3)).astype(np.uint16)
        pixels[0, 0] = 900
        (tmp_path / "a.png").write_bytes(png16(pixels))
        alpha = np.concatenate([pixels, np.full((4, 5, 1), 65535, np.uint16)], axis=-1)
        (tmp_path / "b.png").write_bytes(png16(alpha))
        tifffile.imwrite(tmp_path / "c.tif", pixels, photometric="rgb")
        Image.fromarray(pixels[..., 0]).save(tmp_path / "d.tif")
        np.save(tmp_path / "e.npy", pixels.astype(np.int64))
        (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16) + b"\x10")
        names = ("a.png", "b.png", "c.tif", "d.tif", "e.npy", "f.png")
        files = with_common_white([ImageFile(name, tmp_path / name) for name in names])
        assert [file.white for file in files] == [1023] * 5 + [None]

    def test_formats_that_say_what_is_white(self, tmp_path: Path) -> None:
        twelve = np.array([[0, 1000, 4095]], dtype=">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 3 1 4095\n" + twelve.tobytes())
        Image.fromarray(np.array([[0, 1000, 65535]], dtype=np.uint16)).save(tmp_path / "b.jp2")
        assert self.whites(Folder(str(tmp_path))) == [None, None]
        for name, greys in (("a.pgm", [0, 62, 255]), ("b.jp2", [0, 4, 255])):
            for white in (None, 4095.0):
                image = read_image(tmp_path / name, white=white)
                assert np.asarray(image)[0, :, 0].tolist() == greys
