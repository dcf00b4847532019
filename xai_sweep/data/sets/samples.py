"""Photographs that come with Python packages, so nothing is downloaded."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import ImageFile, ImageSet, first

_SKIMAGE = ("skimage", "data")
_SKLEARN = ("sklearn", "datasets/images")
_PHOTOGRAPHS = {
    "chelsea": (*_SKIMAGE, "chelsea.png"),
    "coffee": (*_SKIMAGE, "coffee.png"),
    "daisy": (*_SKLEARN, "flower.jpg"),
    "motorcycle": (*_SKIMAGE, "motorcycle_left.png"),
    "palace": (*_SKLEARN, "china.jpg"),
    "rocket": (*_SKIMAGE, "rocket.jpg"),
}


@dataclass(frozen=True)
class Samples(ImageSet):
    """Six photographs of scikit-image and scikit-learn: a cat, coffee, a daisy and others.

    Attributes:
        limit: take the first images only; None takes all.
    """

    limit: Annotated[int, Ge(1)] | None = None

    @override
    def files(self) -> tuple[ImageFile, ...]:
        found = (ImageFile(name, _find(*where)) for name, where in _PHOTOGRAPHS.items())
        return first(found, self.limit)


def _find(package: str, folder: str, name: str) -> Path:
    spec = find_spec(package)  # importing the packages would take seconds
    for installed in (spec.submodule_search_locations or []) if spec else []:
        path = Path(installed, folder, name)
        if path.is_file():
            return path
    raise InputError("data", "samples", f"needs {folder}/{name} of the package {package}")
