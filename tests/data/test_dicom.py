"""DICOM files as a viewer shows them, written by pydicom and worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage

from xai_sweep.data import Folder, UnreadableImage, read_image
from xai_sweep.data.dicom import read_dicom, window
from xai_sweep.data.reading import read_stack


def written(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A DICOM file with these stored values; two axes are grey, a last axis of 3 is colour."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    is_colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    frames = pixels.ndim - is_colour > 2
    file.Rows, file.Columns = pixels.shape[int(frames) : int(frames) + 2]
    file.SamplesPerPixel = 3 if is_colour else 1
    file.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        file.PlanarConfiguration = 0
    if frames:
        file.NumberOfFrames = len(pixels)
    file.BitsAllocated = 8 * pixels.dtype.itemsize
    file.BitsStored = file.BitsAllocated
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    file.HighBit = file.BitsStored - 1
    file.save_as(path, enforce_file_format=True)
    return path


def greys(path: Path, **options: Any) -> list[int]:
    image = np.asarray(read_image(path, **options))
    assert (image == image[..., :1]).all()
    return [int(value) for value in image[..., 0].ravel()]


TWELVE = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)


def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", TWELVE, BitsStored=12)
    assert greys(path) == [0, 64, 128, 255]
    signed = np.array([[-2048, 0, 2047]], dtype=np.int16)
    path = written(tmp_path / "b.dcm", signed, BitsStored=12, RescaleSlope="-2")
    assert greys(path) == [255, 127, 0]


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    kind = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}
    path = written(tmp_path / "a.dcm", TWELVE, **kind)
    assert greys(path) == [255, 191, 127, 0]
    assert greys(path, white=2048.0) == [255, 128, 0, 0]


def test_slope_intercept_and_window(tmp_path: Path) -> None:
    """Hounsfield units from -1024, seen through a window of soft tissue."""
    stored = np.array([[0, 904, 1064, 1223, 3000]], dtype=np.uint16)
    tags = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "BitsStored": 12}
    path = written(tmp_path / "a.dcm", stored, WindowCenter="40", WindowWidth="320", **tags)
    units = stored[0].astype(float) - 1024
    expected = ((units - 39.5) / 319 + 0.5).clip(0, 1) * 255
    assert greys(path) == expected.round().astype(int).tolist()
    assert greys(path, black=-1024.0, white=1976.0) == [0, 77, 90, 104, 255]
    two = written(tmp_path / "b.dcm", stored, WindowCenter=[40, 0], WindowWidth=[320, 1], **tags)
    assert greys(two) == greys(path)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(100.0, 50.0), (0.0, 400.0), (2000.0, 1.0)])
def test_windows_are_those_of_pydicom(function: str, centre: float, width: float) -> None:
    file = Dataset()
    file.PhotometricInterpretation, file.BitsStored, file.PixelRepresentation = "MONOCHROME2", 12, 0
    file.WindowCenter, file.WindowWidth, file.VOILUTFunction = centre, width, function
    values = np.arange(4096, dtype=np.float64).reshape(64, 64)
    with np.errstate(over="ignore"):
        expected = apply_windowing(values, file) / 4095
    assert np.abs(window(values, centre, width, function) - expected).max() < 1e-6


def test_the_window_of_one_frame(tmp_path: Path) -> None:
    frames = np.stack([TWELVE, TWELVE])
    groups = []
    for centre in (1024, 2048):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 2
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    path = written(tmp_path / "a.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    assert greys(path) == [0, 255, 255, 255]
    assert greys(path, frame=1) == [0, 0, 255, 255]
    files = Folder(str(tmp_path), frames="all").files()
    assert [file.image_id for file in files] == ["a.dcm#1", "a.dcm#2"]


def test_colours_and_palettes(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 10], [1, 2, 3]]], dtype=np.uint8)
    assert np.array_equal(read_image(written(tmp_path / "a.dcm", colours)), colours)
    ybr = written(tmp_path / "b.dcm", colours, PhotometricInterpretation="YBR_FULL")
    expected = np.asarray(Image.fromarray(colours, "YCbCr").convert("RGB"))
    assert np.abs(np.asarray(read_image(ybr)).astype(int) - expected).max() <= 1
    tables: dict[str, Any] = {}
    for name, entries in (("Red", [0, 65535]), ("Green", [257, 0]), ("Blue", [0, 2570])):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        table = np.array(entries, dtype="<u2").tobytes()
        tables[f"{name}PaletteColorLookupTableData"] = table
    index = np.array([[0, 1]], dtype=np.uint8)
    kind = {"PhotometricInterpretation": "PALETTE COLOR"}
    path = written(tmp_path / "c.dcm", index, **kind, **tables)
    assert np.asarray(read_image(path)).tolist() == [[[0, 1, 0], [255, 0, 10]]]


def test_a_channel_of_a_stack(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", TWELVE, BitsStored=12)
    assert read_stack(path, 1).shape == (1, 1, 4)
    assert np.array_equal(read_stack(path, 1)[0], read_dicom(path)[..., 0])


def test_files_without_extension_or_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "1.2.840", TWELVE, BitsStored=12)
    (tmp_path / "old.dcm").write_bytes(path.read_bytes()[132:])
    files = Folder(str(tmp_path)).files()
    assert [file.image_id for file in files] == ["1.2.840", "old.dcm"]
    assert greys(files[1].path) == greys(path) == [0, 64, 128, 255]


def test_what_cannot_be_shown_is_a_line(tmp_path: Path) -> None:
    report = tmp_path / "report.dcm"
    written(report, TWELVE)
    zeros = tmp_path / "zeros.dcm"
    zeros.write_bytes(bytes(200))
    compressed = written(tmp_path / "jpeg.dcm", TWELVE)
    content = compressed.read_bytes()
    old, new = ExplicitVRLittleEndian, JPEG2000Lossless
    compressed.write_bytes(content.replace(f"{old}\0".encode(), new.encode()[: len(old) + 1], 1))
    dim = written(tmp_path / "dim.dcm", np.array([[0, 1000]], dtype=np.uint16))
    dim.write_bytes(b"II*\0" + dim.read_bytes()[4:])  # as a TIFF file begins
    huge = written(tmp_path / "huge.dcm", TWELVE, Rows=65535, Columns=65535)
    for path, message in (
        (zeros, "holds no pixels, or is no DICOM file"),
        (huge, "decompression bomb"),
        (dim, "has no window, and only values from 0 to 1000; data.black and data.white say wha"),
        (written(tmp_path / "kind.dcm", TWELVE, PhotometricInterpretation="HSV"), "kind HSV"),
        (compressed, "unreadable image: "),
    ):
        with pytest.raises(UnreadableImage, match=message) as error:
            read_image(path)
        assert len(str(error.value).splitlines()) == 1
