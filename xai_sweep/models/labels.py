"""Class names."""

from collections.abc import Sequence
from pathlib import Path

from torchvision.models import AlexNet_Weights

from xai_sweep.core.errors import InputError


def imagenet_labels(classes: int = 1000) -> tuple[str, ...]:
    """The names of ImageNet-1k's 1,000 classes in their usual order; none for other numbers."""
    return tuple(AlexNet_Weights.DEFAULT.meta["categories"]) if classes == 1000 else ()


def read_labels(labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Class names from a list, or from a text file with one name per line.

    Raises:
        InputError: the file cannot be read.
    """
    if labels is None:
        return ()
    if not isinstance(labels, str):
        return tuple(str(label) for label in labels)
    try:
        return tuple(Path(labels).expanduser().read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "model.labels", labels, "must be a list of names or a text file with one name per line"
        ) from error
