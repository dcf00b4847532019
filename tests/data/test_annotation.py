"""Boxes follow whatever a preprocessing does with pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Image as PillowImage
from torch import Tensor
from torchvision.transforms import v2

from xai_sweep.data import Box, ImageFile
from xai_sweep.data.annotation import annotate
from xai_sweep.data.loader import ImageModule
from xai_sweep.models import Classifier

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def box(left: float, top: float, right: float, bottom: float, label: str | None = None) -> Box:
    return Box(float(left), float(top), float(right), float(bottom), label)


def normalised(*steps: v2.Transform) -> v2.Compose:
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return v2.Compose([*steps, *end, v2.ToPureTensor()])


def block(height: int, width: int, left: int, top: int, right: int, bottom: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_nothing_done_keeps_boxes() -> None:
    found = annotate([box(2, 3, 7, 5), box(6, 4, 10, 8)], (12, 8), normalised())
    assert torch.equal(found.mask, block(8, 12, 2, 3, 7, 5) | block(8, 12, 6, 4, 10, 8))
    assert found.boxes.tolist() == [[2, 3, 7, 5], [6, 4, 10, 8]]
    assert found.boxes.dtype == torch.float64


def test_a_pixel_counts_if_half_of_it_is_covered() -> None:
    found = annotate([box(1.5, 0.6, 3.4, 2)], (4, 2), normalised())
    # Column 1 is half covered, column 3 to 40 %, row 0 to 40 %.
    assert torch.equal(found.mask, block(2, 4, 1, 1, 3, 2))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([v2.Resize((20, 40))], (8, 4, 24, 16)),
        ([v2.CenterCrop((6, 10))], (0, 0, 7, 6)),
        ([v2.RandomHorizontalFlip(1.0)], (8, 2, 16, 8)),
        ([v2.Pad(3, fill=255)], (7, 5, 15, 11)),
        ([v2.Pad(3, fill=0), v2.RandomVerticalFlip(1.0)], (7, 5, 15, 11)),
    ],
    ids=["resized", "cropped", "mirrored", "padded with white", "padded with black"],
)
def test_boxes_move_as_pixels_do(
    steps: list[v2.Transform], expected: tuple[int, int, int, int]
) -> None:
    found = annotate([box(4, 2, 12, 8)], (20, 10), normalised(*steps))
    height, width = found.mask.shape
    assert torch.equal(found.mask, block(height, width, *expected))
    assert found.boxes.tolist() == [list(expected)]


def test_a_box_that_is_cropped_away_is_left_out() -> None:
    crop = normalised(v2.CenterCrop(4))
    found = annotate([box(0, 0, 2, 2), box(4, 4, 6, 6)], (10, 10), crop)
    assert found.boxes.tolist() == [[1, 1, 3, 3]]
    gone = annotate([box(0, 0, 2, 2)], (10, 10), crop)
    assert gone.boxes.shape == (0, 4)
    assert not gone.mask.any()


def test_any_callable_is_followed() -> None:
    def turned(image: PillowImage) -> Tensor:
        """Turned by a right angle, one channel, inverse order of rows, in units of its own."""
        pixels = np.asarray(image.convert("L"), dtype=np.float32)
        return torch.from_numpy(np.rot90(pixels).copy())[None] * 3 - 100

    found = annotate([box(1, 0, 3, 2)], (6, 4), turned)
    expected = np.rot90(block(4, 6, 1, 0, 3, 2).numpy())
    assert np.array_equal(found.mask.numpy(), expected)


def test_the_default_preprocessing_against_the_geometry() -> None:
    """The shorter side to size / 0.875, the centre cropped: worked out from the formula."""
    classifier = Classifier(torch.nn.Identity(), size=56)
    found = annotate([box(100, 50, 220, 130)], (300, 200), classifier.preprocess)
    scale = 64 / 200
    expected = [100 * scale - 20, 50 * scale - 4, 220 * scale - 20, 130 * scale - 4]
    assert np.abs(np.array(found.boxes.tolist()) - np.array([expected])).max() <= 0.5


def test_a_preprocessing_in_which_nothing_is_seen_is_an_error() -> None:
    def standardised(image: PillowImage) -> Tensor:
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0)
        return pixels - pixels.mean()

    with pytest.raises(ValueError, match="the same for a black and a white image"):
        annotate([box(0, 0, 2, 2)], (4, 4), standardised)


def test_the_loader_carries_annotations(tmp_path: Path) -> None:
    files = []
    for name, boxes in (("a", (box(0, 0, 2, 4),)), ("b", ()), ("c", (box(1, 1, 3, 3),))):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (4, 4)).save(path)
        files.append(ImageFile(f"{name}.png", path, boxes=boxes))
    files[2].path.write_bytes(b"")
    files.append(ImageFile("d.png", files[0].path, boxes=(box(1, 1, 3, 3),)))
    for batch_size in (1, 4):
        found = []
        for batch in ImageModule(files, normalised(), batch_size).predict_dataloader():
            moved = batch.to(torch.device("cpu"))
            found += zip(moved.files, moved.annotations, strict=True)
        assert [file.image_id for file, _ in found] == ["a.png", "b.png", "d.png"]
        first, second, last = (annotation for _, annotation in found)
        assert torch.equal(first.mask, block(4, 4, 0, 0, 2, 4))
        assert second is None
        assert last.boxes.tolist() == [[1, 1, 3, 3]]
