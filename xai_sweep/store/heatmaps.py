"""Heatmaps kept beside the rows, with the photos that they explain."""

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float16, Float32, Float64, UInt8
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """N images of one cell: their photos, and K reference and K new heatmaps of each.

    Attributes:
        image_id: N names.
        rmse: the score that says which images are worst, `float32[N]`; NaN counts as best.
        reference: heatmaps of the clean images, in their own place, `float32[N, K, H, W]`.
        new: heatmaps of the transformed images, `float32[N, K, H, W]`.
        photo: the clean images, `uint8[N, H, W, C]`.
        photo_new: the transformed images, `uint8[N, H, W, C]`.
    """

    image_id: tuple[str, ...]
    rmse: Float32[ndarray, " n"]
    reference: Float32[ndarray, "n k h w"]
    new: Float32[ndarray, "n k h w"]
    photo: UInt8[ndarray, "n h w c"]
    photo_new: UInt8[ndarray, "n h w c"]

    def __len__(self) -> int:
        return len(self.image_id)

    def save(self, file: Path | BinaryIO) -> None:
        """Write an npz file.

        Every heatmap is stored as float16 in units of its own largest absolute value m, with m
        beside it, for plain gradients would vanish in float16. What is read back lies within
        max(2^-11 |value|, 2^-25 m) of the original, up to the rounding of float32; zero, m, NaN
        and infinity are kept, and saving it again changes nothing more.
        """
        reference, reference_scale = _scaled(self.reference)
        new, new_scale = _scaled(self.new)
        np.savez(
            file,
            allow_pickle=False,
            image_id=np.array(self.image_id, dtype=np.str_),
            rmse=self.rmse,
            reference=reference,
            reference_scale=reference_scale,
            new=new,
            new_scale=new_scale,
            photo=self.photo,
            photo_new=self.photo_new,
        )

    @classmethod
    def load(cls, path: Path) -> "Heatmaps":
        """Read what `save` wrote."""
        # Opened here, for numpy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return cls(
                image_id=tuple(stored["image_id"].tolist()),
                rmse=stored["rmse"],
                reference=_restored(stored["reference"], stored["reference_scale"]),
                new=_restored(stored["new"], stored["new_scale"]),
                photo=stored["photo"],
                photo_new=stored["photo_new"],
            )

    @staticmethod
    def images_of(path: Path) -> set[str] | None:
        """The images in a file that `save` wrote; None if it is damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return set(stored["image_id"].tolist())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def select(self, indices: Sequence[int]) -> "Heatmaps":
        """These images, in this order."""
        at = np.asarray(indices, dtype=np.intp)
        return type(self)(
            image_id=tuple(self.image_id[index] for index in indices),
            rmse=self.rmse[at],
            reference=self.reference[at],
            new=self.new[at],
            photo=self.photo[at],
            photo_new=self.photo_new[at],
        )

    def worst(self, count: int) -> "Heatmaps":
        """The `count` images of highest rmse, worst first; equal ones in order of image_id."""
        order = sorted(range(len(self)), key=self._badness)
        return self.select(order[:count])

    @classmethod
    def concatenate(cls, parts: Sequence["Heatmaps"]) -> "Heatmaps":
        """The images of all parts (at least one), each image_id once: the first one counts."""
        joined = cls(
            image_id=tuple(name for part in parts for name in part.image_id),
            rmse=np.concatenate([part.rmse for part in parts]),
            reference=np.concatenate([part.reference for part in parts]),
            new=np.concatenate([part.new for part in parts]),
            photo=np.concatenate([part.photo for part in parts]),
            photo_new=np.concatenate([part.photo_new for part in parts]),
        )
        first: dict[str, int] = {}
        for index, name in enumerate(joined.image_id):
            first.setdefault(name, index)
        return joined if len(first) == len(joined) else joined.select(list(first.values()))

    def _badness(self, index: int) -> tuple[bool, float, str]:
        rmse = float(self.rmse[index])
        if math.isnan(rmse):
            return True, 0.0, self.image_id[index]
        return False, -rmse, self.image_id[index]


def worst_of(files: Sequence[Path], count: int) -> Heatmaps | None:
    """The worst `count` images of several files, with one file at a time in memory.

    Returns:
        None if there are no files.
    """
    best: Heatmaps | None = None
    for file in files:
        part = Heatmaps.load(file).worst(count)
        best = part if best is None else Heatmaps.concatenate([best, part]).worst(count)
    return best


def _scaled(
    maps: Float32[ndarray, "n k h w"],
) -> tuple[Float16[ndarray, "n k h w"], Float64[ndarray, "n k"]]:
    """Heatmaps in units of their largest finite absolute value, and that value (1 if it is 0)."""
    largest = np.where(np.isfinite(maps), np.abs(maps), 0).max(axis=(2, 3), initial=0)
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    return (maps / scale[..., None, None]).astype(np.float16), scale.astype(np.float64)


def _restored(
    scaled: Float16[ndarray, "n k h w"], scale: Float64[ndarray, "n k"]
) -> Float32[ndarray, "n k h w"]:
    # The scale is a float32 kept in float64, so that nothing is lost by going back.
    return scaled.astype(np.float32) * scale.astype(np.float32)[..., None, None]
