"""From files to batches, with and without worker processes."""

import logging
import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from PIL.Image import Image as PillowImage
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from xai_sweep.data import Batch, Folder, ImageFile, Images, Samples, read_image
from xai_sweep.data.loader import ImageModule
from xai_sweep.models import Classifier


def small(image: PillowImage) -> Tensor:
    return transforms.to_dtype(
        transforms.pil_to_tensor(image.resize((8, 8))), torch.float32, scale=True
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[ImageFile, ...]:
    """Photographs with an empty, a truncated, a missing and a very long image among them."""
    for file in Samples().files():
        shutil.copy(file.path, tmp_path / f"{file.image_id}{file.path.suffix}")
    (tmp_path / "a_empty.png").write_bytes(b"")
    coffee = (tmp_path / "coffee.png").read_bytes()
    (tmp_path / "d_truncated.png").write_bytes(coffee[:5000])
    (tmp_path / "e_missing.png").symlink_to("nowhere")
    Image.new("L", (1, 101)).save(tmp_path / "f_long.png")
    return Folder(str(tmp_path)).files()


BAD = {
    "a_empty.png": "unreadable image: the file is empty",
    "d_truncated.png": "unreadable image: ",
    "e_missing.png": "unreadable image: No such file or directory",
    "f_long.png": "preprocessing failed: ValueError: 1 x 101 pixels are too far from a square",
}


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_image_once_and_in_order(
    files: tuple[ImageFile, ...], batch_size: int, workers: int
) -> None:
    loader = ImageModule(files, small, batch_size, workers).predict_dataloader()
    batches: list[Batch] = list(loader)
    assert sum((batch.files for batch in batches), ()) == tuple(
        file for file in files if file.image_id not in BAD
    )
    pixels = torch.cat([batch.images for batch in batches if batch.files])
    expected = [small(read_image(file.path)) for file in files if file.image_id not in BAD]
    assert torch.equal(pixels, torch.stack(expected))
    failed = {file.image_id: failure.error for batch in batches for file, failure in batch.failed}
    assert failed.keys() == BAD.keys()
    assert all(failed[name].startswith(message) for name, message in BAD.items())


def test_a_batch_of_failures_alone(files: tuple[ImageFile, ...]) -> None:
    bad = [file for file in files if file.image_id in BAD]
    (batch,) = ImageModule(bad, small, batch_size=10).predict_dataloader()
    assert batch.files == ()
    assert batch.images.shape == (0, 0, 0, 0)
    assert [file for file, _ in batch.failed] == bad


def test_another_shape_is_an_error_whatever_the_batch(tmp_path: Path) -> None:
    for name, size in (("a", (4, 4)), ("b", (4, 4)), ("c", (6, 4)), ("d", (6, 4))):
        Image.new("L", size).save(tmp_path / f"{name}.png")
    (tmp_path / "0.png").write_bytes(b"")
    files = Folder(str(tmp_path)).files()
    for batch_size in (1, 2, 5):
        batches = list(
            ImageModule(files, transforms.pil_to_tensor, batch_size).predict_dataloader()
        )
        assert [f.image_id for b in batches for f in b.files] == ["a.png", "b.png"]
        errors = [failure.error for batch in batches for _, failure in batch.failed]
        message = "is (3, 4, 6) after preprocessing, the first image of the set (3, 4, 4)"
        assert errors == ["unreadable image: the file is empty", message, message]


def test_the_shape_is_that_of_the_whole_set(tmp_path: Path) -> None:
    for name, size in (("a", (4, 4)), ("b", (6, 4)), ("c", (4, 4))):
        Image.new("L", size).save(tmp_path / f"{name}.png")
    files = Folder(str(tmp_path)).files()
    share = ImageModule(files[1:], transforms.pil_to_tensor, whole=files)
    (batch,) = share.predict_dataloader()
    assert [file.image_id for file in batch.files] == ["c.png"]
    assert [file.image_id for file, _ in batch.failed] == ["b.png"]


def test_a_preprocessing_that_raises_or_gives_something_else() -> None:
    def broken(image: PillowImage) -> Tensor:
        raise RuntimeError(f"cannot\nuse {image.mode}")

    files = Samples(limit=1).files()
    error = Images(files, broken)[0].error
    assert error == "preprocessing failed: RuntimeError: cannot use RGB"
    error = Images(files, lambda image: transforms.pil_to_tensor(image)[None])[0].error
    assert error is not None
    assert error.startswith("preprocessing failed: ")


def test_images_of_a_classifier() -> None:
    classifier = Classifier(nn.Identity(), mean=(0.5,) * 3, std=(0.5,) * 3, size=64)
    (batch,) = ImageModule(Samples().files(), classifier.preprocess).predict_dataloader()
    assert batch.images.shape == (6, 3, 64, 64)
    assert batch.images.dtype == torch.float32
    assert -1 <= batch.images.min() < -0.9
    assert 0.9 < batch.images.max() <= 1


class Watch(pl.LightningModule):
    def predict_step(self, batch: Batch, batch_idx: int) -> list[str]:
        assert isinstance(batch, Batch)
        assert batch.images.device == self.device
        return [f"{batch_idx}:{file.image_id}" for file in batch.files]


def test_lightning_hands_batches_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "disabled", True)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    module = ImageModule(Samples(limit=3).files(), small, batch_size=2, workers=0)
    seen = trainer.predict(Watch(), datamodule=module)
    assert seen == [["0:chelsea", "0:coffee"], ["1:daisy"]]


def test_a_batch_moves_to_a_device() -> None:
    (batch,) = ImageModule(Samples(limit=2).files(), small).predict_dataloader()
    moved = batch.to(torch.device("meta"))
    assert moved.images.device.type == "meta"
    assert moved.files == batch.files
